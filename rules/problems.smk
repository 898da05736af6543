# Problem sets: training sets, nested coverage subsets (section 6.2), benchmarks.


rule build_training_problems:
    output:
        problems=PATHS.training_problems(coverage="full"),
        manifest=PATHS.manifest(PATHS.training_problems(coverage="full")),
    log:
        PATHS.log("build_training_problems", PATHS.training_problems(coverage="full")),
    benchmark:
        PATHS.benchmark_log("build_training_problems", PATHS.training_problems(coverage="full"))
    priority: 100
    conda:
        ENVIRONMENT
    threads: requested_threads("problems")
    resources:
        **requested("problems"),
    params:
        spec=lambda wildcards: STUDY.dataset_spec(wildcards.dataset),
        dataset="{dataset}",
        seed=STUDY.file.data_seed,
        code=code_fingerprint("problems.problem", "problems.sources", "organism.chains"),
        resume=PATHS.resume(PATHS.training_problems(coverage="full")),
    message:
        "Training problems {wildcards.dataset}"
    script:
        "../workflow/scripts/build_training_problems.py"


rule build_coverage_subset:
    input:
        problems=PATHS.training_problems(coverage="full"),
    output:
        problems=PATHS.training_problems(),
        manifest=PATHS.manifest(PATHS.training_problems()),
    log:
        PATHS.log("build_coverage_subset", PATHS.training_problems()),
    benchmark:
        PATHS.benchmark_log("build_coverage_subset", PATHS.training_problems())
    wildcard_constraints:
        coverage=r"[0-9]+",
    priority: 100
    conda:
        ENVIRONMENT
    threads: requested_threads("problems")
    resources:
        **requested("problems"),
    params:
        coverage=lambda wildcards: int(wildcards.coverage),
        source=lambda wildcards: STUDY.subset_spec(wildcards.dataset, int(wildcards.coverage)),
        seed=STUDY.file.data_seed,
        code=code_fingerprint("problems.problem", "problems.sources"),
        resume=PATHS.resume(PATHS.training_problems()),
    message:
        "{wildcards.coverage} problems of {wildcards.dataset}"
    script:
        "../workflow/scripts/build_coverage_subset.py"


rule build_benchmark:
    output:
        problems=PATHS.benchmark(),
        manifest=PATHS.manifest(PATHS.benchmark()),
    log:
        PATHS.log("build_benchmark", PATHS.benchmark()),
    benchmark:
        PATHS.benchmark_log("build_benchmark", PATHS.benchmark())
    priority: 100
    conda:
        ENVIRONMENT
    threads: requested_threads("problems")
    resources:
        **requested("problems"),
    params:
        spec=lambda wildcards: STUDY.benchmark_spec(wildcards.benchmark),
        benchmark="{benchmark}",
        seed=STUDY.file.data_seed,
        code=code_fingerprint("problems.problem", "problems.sources", "organism.chains"),
        resume=PATHS.resume(PATHS.benchmark()),
    message:
        "Benchmark {wildcards.benchmark}"
    script:
        "../workflow/scripts/build_benchmark.py"
