    AND (empty({services:Array(String)}) OR service_name IN (SELECT arrayJoin({services:Array(String)})))
    AND (empty({environments:Array(String)}) OR environment IN (SELECT arrayJoin({environments:Array(String)})))
    AND (empty({routes:Array(String)}) OR model_route IN (SELECT arrayJoin({routes:Array(String)})))
    AND (empty({models:Array(String)}) OR model IN (SELECT arrayJoin({models:Array(String)})))
    AND (empty({cohorts:Array(String)}) OR cohort IN (SELECT arrayJoin({cohorts:Array(String)})))
    AND (empty({prompt_versions:Array(String)}) OR prompt_version IN (SELECT arrayJoin({prompt_versions:Array(String)})))
    AND ({session_id:String} = '' OR session_id = {session_id:String})
    AND ({user_id:String} = '' OR user_id = {user_id:String})
    AND (NOT {retried:Bool} OR retried)
    AND (NOT {fell_back:Bool} OR fell_back)
    AND (NOT {timed_out:Bool} OR timed_out)
    AND (NOT {errored:Bool} OR errored)
    AND (NOT {unpriced:Bool} OR unpriced_calls > 0)
    AND ({min_cost_usd:Float64} <= 0 OR toFloat64(cost_usd) >= {min_cost_usd:Float64})
    AND ({min_duration_ns:UInt64} = 0 OR duration_ns >= {min_duration_ns:UInt64})
    AND ({failed_metric:String} = '' OR trace_id IN
    (
        SELECT trace_id
        FROM trace_outcomes FINAL
        WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
            AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
            AND metric = {failed_metric:String} AND failed
            AND ({failed_evaluator:String} = '' OR evaluator = {failed_evaluator:String})
    ))
