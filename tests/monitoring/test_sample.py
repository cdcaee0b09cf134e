"""A reservoir is a uniform sample of its stream, whatever the batches, and of several streams once merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats

from millrace.monitoring.sample import Reservoir, read_sample
from millrace.profiling.errors import DatasetError, FormatError


def batches(start: int, stop: int, size: int) -> list[pa.RecordBatch]:
    whole = pa.table({"n": np.arange(start, stop)})
    return list(whole.to_batches(max_chunksize=size))


def sampled(start: int, stop: int, seed: int | list[int], *, capacity: int = 500, size: int = 997) -> Reservoir:
    reservoir = Reservoir(capacity, seed)
    for batch in batches(start, stop, size):
        reservoir.add(batch)
    return reservoir


def kept(reservoir: Reservoir) -> list[int]:
    return sorted(reservoir.rows()["n"].to_pylist())


def test_a_short_stream_is_kept_whole() -> None:
    assert kept(sampled(0, 300, 1)) == list(range(300))


def test_every_row_is_as_likely_wherever_it_stands() -> None:
    found = [n for seed in range(40) for n in kept(sampled(0, 20_000, seed, capacity=200))]
    assert len(found) == 40 * 200
    counts, _ = np.histogram(found, bins=20, range=(0, 20_000))
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_merged_shards_are_a_sample_of_all_their_rows() -> None:
    found = []
    for seed in range(40):
        big, small = sampled(0, 15_000, [seed, 0], capacity=200), sampled(15_000, 20_000, [seed, 1], capacity=200)
        small.merge(big)
        assert small.rows_seen == 20_000
        found += kept(small)
    assert np.mean(np.array(found) < 15_000) == pytest.approx(0.75, abs=0.02)


def test_dictionaries_and_texts_are_one_column() -> None:
    reservoir = Reservoir()
    for words in (pa.array(["a", "b"]).dictionary_encode(), pa.array(["c"]), pa.array(["d"]).dictionary_encode()):
        reservoir.add(pa.record_batch({"word": words}))
    assert sorted(reservoir.rows()["word"].to_pylist()) == ["a", "b", "c", "d"]


def test_memory_stays_bounded() -> None:
    reservoir = sampled(0, 200_000, 3, capacity=100, size=1000)
    assert sum(part.num_rows for part in reservoir._kept) <= 200


def test_a_sample_is_read_as_it_was_written_and_merges_on(tmp_path: Path) -> None:
    reservoir = sampled(0, 5000, 1)
    reservoir.write(tmp_path)
    read = read_sample(tmp_path, capacity=500)
    assert (kept(read), read.rows_seen) == (kept(reservoir), 5000)
    read.merge(sampled(5000, 10_000, 2))
    assert len(kept(read)) == 500
    assert 180 < sum(n < 5000 for n in kept(read)) < 320


def test_what_cannot_be_sampled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no row has been seen"):
        Reservoir().rows()
    with pytest.raises(DatasetError, match="'_priority'"):
        Reservoir().add(pa.record_batch({"_priority": [1.0]}))
    reservoir = sampled(0, 10, 1)
    reservoir.add(pa.record_batch({"m": [1]}))
    with pytest.raises(DatasetError, match=r"differ in columns \(m, n\)"):
        reservoir.rows()
    with pytest.raises(FormatError, match="cannot be read"):
        read_sample(tmp_path)
    pq.write_table(pa.table({"n": [1]}), tmp_path / "sample.parquet")
    with pytest.raises(FormatError, match="not a sample"):
        read_sample(tmp_path)
