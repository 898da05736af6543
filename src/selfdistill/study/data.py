"""Training sets and benchmarks: made for the mini study, or read from a data file of the hub, an address or `data_root`."""

from typing import Annotated, Literal

from pydantic import Field

from selfdistill.study.fields import Name, Positive, Rate, Section


class Expectation(Section):
    """What a data file must hold; anything else is refused by the rule that reads it."""

    rows: Positive | None = Field(default=None, description="rows of the file")
    distinct: list[Positive] = Field(
        default=[], max_length=2, description="distinct questions: one number, or lowest and highest"
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file; null accepts another copy of the same rows",
    )


class HubSource(Section):
    """Problems of a file or data set of the hub, of an address, or of the folder `data_root`."""

    source: Literal["hub"] = Field(description="`hub`: fetched, or read below `data_root`")
    repo_id: str = Field(
        min_length=1, description="data set repository; `parquet` or `json` where data_files is an address"
    )
    name: str | None = Field(default=None, description="configuration of the data set")
    split: str = Field(description="split")
    revision: str | None = Field(default=None, description="commit or tag")
    data_files: str | None = Field(
        default=None, description="file of the repository, or an address or path of a file"
    )
    local: str | None = Field(
        default=None, description="the same file below `data_root`, which is read instead where that is set"
    )
    question: str = Field(description="column of the question, dots descend (`prompt.0.content`)")
    answer: str = Field(description="column of the answer, dots descend")
    id: str | None = Field(
        default=None, description="column of the problem's id, dots descend; null numbers the rows"
    )
    instructions: str | None = Field(
        default=None, description="column of a text that is put before the question, dots descend"
    )
    rewrite: Literal["none", "dapo"] = Field(
        default="none", description="`dapo`: cut the `Answer:` instructions of DAPO-Math-17k (authors' rule)"
    )
    prefix: str = Field(default="", description="put before the question")
    suffix: str = Field(default="", description="put after the question")
    grading: Literal["boxed", "mcq"] = Field(
        default="boxed", description="answer in the last box, or the letter between the last <answer> tags"
    )
    expect: Expectation = Field(default=Expectation(), description="what the file must hold")


class SubsetFile(Section):
    """A coverage subset that its authors published as a file of its own, in the columns of its whole set."""

    data_files: str | None = Field(default=None, description="address or path of the file")
    local: str | None = Field(default=None, description="the same file below `data_root`")
    expect: Expectation = Field(default=Expectation(), description="what the file must hold")


class Domains(Section):
    """Which training sets the broad and the narrow domain of Fig. 1 and Table 3 are."""

    broad: str = Field(description="training set of section 5")
    narrow: str | None = Field(
        default=None, description="training set with few types (the paper's chemistry)"
    )


class OrganismDataset(Section):
    """A training problem set of the mini task."""

    source: Literal["organism"] = Field(description="`organism`: chains, made by organism.chains")
    types: dict[str, Rate] = Field(min_length=1, description="type of chain: weight")
    problems: Positive = Field(description="distinct problems of the full set")
    coverages: list[Positive | Literal["full"]] = Field(
        min_length=1, description="sizes of the nested subsets, and `full`"
    )


class HubDataset(HubSource):
    """A training problem set of the Hugging Face hub."""

    problems: Positive | None = Field(
        default=None, description="keep the first so many distinct problems; null for all"
    )
    coverages: list[Positive | Literal["full"]] = Field(
        min_length=1, description="sizes of the nested subsets, and `full`"
    )
    subsets: dict[Positive, SubsetFile] = Field(
        default={}, description="coverage: file of that subset; the others are drawn with `data_seed`"
    )


DatasetSpec = Annotated[OrganismDataset | HubDataset, Field(discriminator="source")]


class BenchmarkEntry(Section):
    """What every benchmark has."""

    label: str = Field(description="name in figures and tables")
    ood: bool = Field(
        description="whether its problems are of another distribution than the training problems"
    )
    paper: str = Field(default="", description="what it stands for in the paper")
    role: Literal["aime24", "amc23", "narrow"] | None = Field(
        default=None, description="the benchmark of the paper's claims that it is or stands for (claims.yaml)"
    )


class OrganismBenchmark(BenchmarkEntry):
    """Held-out problems of the mini task."""

    source: Literal["organism"] = Field(description="`organism`: chains, made by organism.chains")
    types: dict[str, Rate] = Field(min_length=1, description="type of chain: weight")
    problems: Positive | None = Field(
        default=None, description="number of problems where it differs from the study's"
    )


class HubBenchmark(BenchmarkEntry, HubSource):
    """A benchmark of the Hugging Face hub."""


BenchmarkSpec = Annotated[OrganismBenchmark | HubBenchmark, Field(discriminator="source")]


class Benchmarks(Section):
    """config/benchmarks.yaml."""

    benchmarks: dict[Name, BenchmarkSpec] = Field(description="benchmarks of the studies")
