SELECT trace_id
FROM trace_facts FINAL
WHERE started_at >= {since:DateTime64(9, 'UTC')}
  AND service_name = {service:String} AND model_route = {route:String}
  AND ({cohort:String} = '' OR cohort = {cohort:String})
  AND multiIf(
      {metric:String} = 'retry', retried,
      {metric:String} = 'fallback', fell_back,
      {metric:String} = 'timeout', timed_out,
      {metric:String} = 'error', errored,
      {metric:String} = 'slow', true,
      (trace_id, mirror_role) IN
      (
          SELECT trace_id, mirror_role
          FROM trace_outcomes FINAL
          WHERE started_at >= {since:DateTime64(9, 'UTC')} AND metric = {metric:String} AND failed
            AND ({evaluator:String} = '' OR evaluator = {evaluator:String})
      ))
ORDER BY if({metric:String} = 'slow', duration_ns, 0) DESC, started_at DESC, trace_id
LIMIT {limit:UInt32}
