-- The clause of an ALTER of span_records.
UPDATE
    attribute_types = arrayFilter((t, k) -> NOT match(k, {keys:String}), attribute_types, mapKeys(attributes)),
    attributes = mapFilter((k, v) -> NOT match(k, {keys:String}), attributes),
    events = arrayMap(e -> (e.time, e.name, mapFilter((k, v) -> NOT match(k, {keys:String}), e.attributes)), events)
IN PARTITION {partition:String}
WHERE 1
