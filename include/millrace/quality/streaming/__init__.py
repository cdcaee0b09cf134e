"""Expectations evaluated in one pass over record batches, in bounded memory, with Great Expectations' own answers.

A row of `table.TABLE` says for an expectation's type what evaluates it: whether rows hold it one by one (`row_level`,
counted by `counting`), a number over all rows (`aggregates`), the distinct values of columns (`distinct`, on
`keyed_rows`), or the table's shape (`shape`). `suite_pass` runs a whole suite over the batches of a dataset.

An evaluation that would have to guess raises NotStreamed (`answers`): the expectation is then evaluated by Great
Expectations in memory. What is never streamed: medians and quantiles (exact ones need all values), z-scores and outliers
(two passes), dates and decimals (how Great Expectations compares them depends on pandas), row conditions.
"""
