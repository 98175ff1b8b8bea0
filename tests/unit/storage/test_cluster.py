"""The schema as a cluster gets it."""

from __future__ import annotations

import re

import pytest

from storage.cluster import SHARD_KEYS, Cluster, UnknownStatementError, local_name
from storage.migrations import known_migrations

CLUSTER = Cluster("lab")


def test_a_sharded_table_is_a_replicated_one_behind_a_distributed_one() -> None:
    statement = "CREATE TABLE IF NOT EXISTS span_facts\n(\n    a String\n)\nENGINE = ReplacingMergeTree(v, d)\nORDER BY a"
    assert CLUSTER.arrange([statement]) == [
        "CREATE TABLE IF NOT EXISTS span_facts_local ON CLUSTER `lab`\n(\n    a String\n)\n"
        "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', v, d)\nORDER BY a",
        "CREATE TABLE IF NOT EXISTS span_facts ON CLUSTER `lab` AS span_facts_local "
        "ENGINE = Distributed('lab', currentDatabase(), 'span_facts_local', cityHash64(trace_id))",
    ]


def test_a_small_table_is_whole_on_every_node() -> None:
    assert CLUSTER.arrange(["CREATE TABLE IF NOT EXISTS leases\n(a String)\nENGINE = MergeTree\nORDER BY a"]) == [
        "CREATE TABLE IF NOT EXISTS leases ON CLUSTER `lab`\n(a String)\n"
        "ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}')\nORDER BY a"
    ]


def test_a_copied_table_has_a_path_of_its_own() -> None:
    original = "CREATE TABLE IF NOT EXISTS metric_minutes\n(a String)\nENGINE = MergeTree\nORDER BY a"
    arranged = CLUSTER.arrange([original, "CREATE TABLE IF NOT EXISTS metric_hours AS metric_minutes"])
    assert arranged[2] == arranged[0].replace("metric_minutes", "metric_hours")
    assert arranged[3] == arranged[1].replace("metric_minutes", "metric_hours")


def test_a_view_feeds_the_shard_it_reads() -> None:
    statement = "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO trace_times AS\nSELECT a\nFROM span_records\nGROUP BY a"
    assert CLUSTER.arrange([statement]) == [
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v ON CLUSTER `lab` TO trace_times_local AS\n"
        "SELECT a\nFROM span_records_local\nGROUP BY a"
    ]


def test_an_altered_column_reaches_the_shards_and_the_door() -> None:
    assert CLUSTER.arrange(["ALTER TABLE span_records ADD COLUMN a String"]) == [
        "ALTER TABLE span_records_local ON CLUSTER `lab` ADD COLUMN a String",
        "ALTER TABLE span_records ON CLUSTER `lab` ADD COLUMN a String",
    ]
    assert CLUSTER.arrange(["ALTER TABLE span_records MODIFY SETTING merge_max_block_size = 1"]) == [
        "ALTER TABLE span_records_local ON CLUSTER `lab` MODIFY SETTING merge_max_block_size = 1",
    ]
    assert CLUSTER.target("leases") == "`leases` ON CLUSTER `lab`"
    assert Cluster("lab", on_cluster=False).target("span_records") == "`span_records_local`"


def test_a_setting_is_that_of_the_shards() -> None:
    assert CLUSTER.arrange(["ALTER TABLE span_records MODIFY SETTING a = 1"]) == [
        "ALTER TABLE span_records_local ON CLUSTER `lab` MODIFY SETTING a = 1"
    ]


def test_an_unforeseen_statement_is_refused() -> None:
    with pytest.raises(UnknownStatementError, match="OPTIMIZE"):
        CLUSTER.arrange(["OPTIMIZE TABLE span_records"])


def test_every_schema_statement_has_an_arrangement_and_views_stay_on_their_shard() -> None:
    statements = [text for migration in known_migrations() for text in migration.statements()]
    assert len(CLUSTER.arrange(statements)) > len(statements)
    made = {match[1] for text in statements if (match := re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", text))}
    assert set(SHARD_KEYS) <= made
    for text in statements:
        if fed := re.match(r"CREATE MATERIALIZED VIEW IF NOT EXISTS \w+ TO (\w+) AS.*?\bFROM\s+(\w+)", text, re.DOTALL):
            assert (fed[1] in SHARD_KEYS) == (fed[2] in SHARD_KEYS), fed[0]


def test_local_names() -> None:
    assert local_name("span_records") == "span_records_local"
    assert local_name("alerts") == "alerts"
