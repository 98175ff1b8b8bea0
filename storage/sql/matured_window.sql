(service_name IN {services_{i}:Array(String)} AND metric IN {metrics_{i}:Array(String)}
    AND bucket >= toDateTime({since_{i}:DateTime64(3, 'UTC')}, 'UTC') AND bucket < toDateTime({until_{i}:DateTime64(3, 'UTC')}, 'UTC'))
