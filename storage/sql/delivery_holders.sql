SELECT holder
FROM deliveries
WHERE delivery_id = {delivery_id:String} AND sequence = {sequence:UInt32}
ORDER BY holder
