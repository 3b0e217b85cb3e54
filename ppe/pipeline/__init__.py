"""How the study runs: stages, pre-flight checks, studies, run times and the site."""
