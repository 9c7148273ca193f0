import logging
import pathlib

from fold.run import fold_env, fold_image, run_fold
from msa.run import MSA_PACKAGES, msa_env, run_msa

import flyte

# The main task's module imports both the others, so its image needs what they import.
main_image = fold_image.with_pip_packages(*MSA_PACKAGES)

env = flyte.TaskEnvironment(
    name="multi_env",
    depends_on=[fold_env, msa_env],
    image=main_image,
)


@env.task
def main(sequence: str) -> list[str]:
    print(f"Running AlphaFold2 for sequence: {sequence}")
    msa = run_msa(sequence)
    print(f"MSA done, passing {msa.path} to fold")
    results = run_fold(sequence, msa)
    print(f"Fold results: {results}")
    return results


if __name__ == "__main__":
    flyte.init_from_config(root_dir=pathlib.Path(__file__).parent, log_level=logging.INFO)
    r = flyte.run(main, "AAGGTTCCAA")
    print(r.name)
    print(r.url)
