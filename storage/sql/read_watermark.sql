-- Of the newest runs only: max() over all would be the same, and read them all.
SELECT max(watermark) AS watermark
FROM job_runs
WHERE kind = {kind:String}
