-- When rows of a feed were written, and how many. storage/touched.py puts in the table, from its own names.
SELECT written_at, count() AS n
FROM {feed}
WHERE written_at > {after:DateTime64(9, 'UTC')} AND written_at <= {upto:DateTime64(9, 'UTC')}
GROUP BY written_at
ORDER BY written_at
