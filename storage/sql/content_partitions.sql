-- Days of spans past the content's time that still hold some.
SELECT toString(toDate(received_at)) AS partition
FROM span_records
WHERE received_at < toStartOfDay(now() - toIntervalDay({days:UInt32}))
    AND (arrayExists(k -> match(k, {keys:String}), mapKeys(attributes))
        OR arrayExists(e -> arrayExists(k -> match(k, {keys:String}), mapKeys(e.attributes)), events))
GROUP BY partition
ORDER BY partition
