# Problem sets: training sets, benchmarks, and nested coverage subsets (section 6.2).


PROBLEMS = surroundings("build_problems", PATHS.problems(), "problems")


rule build_problems:
    output:
        problems=PATHS.problems(),
        manifest=PROBLEMS.manifest,
    log:
        PROBLEMS.log,
    wildcard_constraints:
        split="train|held-out",
        name=one_of([*STUDY.file.datasets, *STUDY.all_benchmarks()]),
    priority: 100
    threads: PROBLEMS.threads
    resources:
        **PROBLEMS.resources,
    params:
        job=problem_set_params,
        code=lambda wildcards: code_of("build_problems", maker_of(wildcards)),
    message:
        "Problems {wildcards.name} ({wildcards.split}, replicate {wildcards.replicate})"
    script:
        "../workflow/scripts/build_problems.py"


SUBSET = surroundings("build_coverage_subset", PATHS.training_problems(), "problems")


rule build_coverage_subset:
    input:
        problems=PATHS.training_problems(coverage="full"),
    output:
        problems=PATHS.training_problems(),
        manifest=SUBSET.manifest,
    log:
        SUBSET.log,
    wildcard_constraints:
        coverage=r"[0-9]+",
    priority: 100
    threads: SUBSET.threads
    resources:
        **SUBSET.resources,
    params:
        job=lambda wildcards: jobs.subset_params(
            STUDY, wildcards.dataset, int(wildcards.coverage), int(wildcards.replicate)
        ).model_dump(),
        code=code_of("build_coverage_subset"),
    message:
        "{wildcards.coverage} problems of {wildcards.dataset}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/build_coverage_subset.py"


# All that needs a network, before anything else (docs/cluster.md). `--until` with the rules' names does not do it: Snakemake 9.27 stops
# at a rule that needs another one of them.
rule inputs:
    input:
        [PATHS.base(*draw) for draw in STUDY.base_draws("hub") + STUDY.base_draws("package")],
        [PATHS.benchmark(name) for name in STUDY.all_benchmarks()],
        [
            PATHS.training_problems(name, replicate, str(size))
            for replicate in STUDY.file.replicates
            for name, dataset in STUDY.file.datasets.items()
            for size in dataset.coverages
        ],
