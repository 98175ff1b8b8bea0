SELECT service_name, metric, evaluator, maturity_seconds, effective_from, source
FROM maturities FINAL
ORDER BY service_name, metric, evaluator, effective_from
