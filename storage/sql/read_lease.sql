-- The newest term belongs to whoever wrote it first; its expiry is what that holder wrote last.
WITH
    (SELECT max(term) FROM leases WHERE name = {name:String}) AS newest,
    (SELECT argMin(holder, (changed_at, holder)) FROM leases WHERE name = {name:String} AND term = newest) AS winner
SELECT holder, term, argMax(expires_at, changed_at) AS expires_at
FROM leases
WHERE name = {name:String} AND term = newest AND holder = winner
GROUP BY holder, term
