-- Takes places among what may be under way at once, for one replica. Everything is of this one key,
-- and of the server's time.
--
-- A hash: replica -> "places held, and the Unix milliseconds until which". A replica says how many it
-- holds whenever it asks, so that whatever is forgotten here comes back, and nothing is held twice.
--
-- ARGV: replica, amount, held, need, least (part of the need that is of use), want (as a reserve),
--   divisor of what may be kept in reserve, milliseconds for which they are held. Tests add the time.
-- Returns: granted, held by all.

local replica, amount, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local need, least, want, divisor = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ttl = tonumber(ARGV[8])

local function milliseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local now = tonumber(ARGV[9]) or milliseconds()
local all = held
local stored = redis.call('HGETALL', KEYS[1])
for index = 1, #stored, 2 do
  local places, ends = string.match(stored[index + 1], '^(%d+) (%d+)$')
  if not places or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], stored[index])
  elseif stored[index] ~= replica then
    all = all + tonumber(places)
  end
end

local room, granted = amount - all, 0
if room >= need then
  granted = need + math.max(0, math.min(want, math.floor((room - need) / divisor)))
elseif room >= least then
  granted = math.max(0, room)
end

if held + granted > 0 then
  redis.call('HSET', KEYS[1], replica, string.format('%.0f %.0f', held + granted, now + ttl))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
else
  redis.call('HDEL', KEYS[1], replica)
end
return {granted, all + granted}
