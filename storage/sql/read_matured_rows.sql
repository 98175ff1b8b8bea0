SELECT {columns}
FROM metric_minutes FINAL
-- all of this is of the key, so it may be asked before versions are merged
PREWHERE model_route IN {routes:Array(String)} AND ({windows})
