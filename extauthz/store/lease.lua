-- Takes units of one counter for one replica. Everything is of this one key, and of the server's time.
--
-- The counter is a hash: `v` units used in the window, or the tat of a rate in Unix microseconds; `w`
-- the number of the window; `n` how often it was changed.
-- A server may forget: it is flushed, evicts the key, or another one without the last writes takes over.
-- Every replica therefore says what it saw last, and what is missing is put back. `g` names a lineage,
-- which begins when a counter begins or is found to have forgotten; `b` and `m` are the value and the
-- change it began with. A replica that knows a later change of an older lineage knows something that
-- is missing here: what it saw, less `b`.
--
-- ARGV: kind (rate, hour, day, month), amount (burst of a rate), microseconds per unit, need, least
--   (part of the need that is of use), want (as a reserve), divisor of what may be kept in reserve,
--   charge (used without being asked; negative: given back), 1 if an operator gives it, and g, n, v, w as
--   the replica knows them. Tests add the time.
-- Returns: granted, v, n, g, w, now, the end of the window (0 for a rate), 1 if something was put back.

local kind, amount, per_unit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local need, least, want, divisor = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local charge, is_gift = tonumber(ARGV[8]), ARGV[9] == '1'
local known = {g = tonumber(ARGV[10]), n = tonumber(ARGV[11]), v = tonumber(ARGV[12]), w = tonumber(ARGV[13])}

local function microseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The year and the month (0 to 11) of a day, and the day a month begins: H. Hinnant's civil calendar,
-- whose years begin in March. Days are counted from 1970.
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local month = (math.floor((5 * doy + 2) / 153) + 2) % 12
  return (yoe + era * 400) + (month < 2 and 1 or 0), month
end

local function first_day(year, month)
  if month < 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * ((month + 10) % 12) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

-- The number of the window that an instant is in, and its end.
local function window_of(now)
  local seconds = math.floor(now / 1000000)
  if kind == 'rate' then return 0, 0 end
  if kind == 'hour' or kind == 'day' then
    local length = kind == 'hour' and 3600 or 86400
    local number = math.floor(seconds / length)
    return number, (number + 1) * length * 1000000
  end
  local year, month = month_of(math.floor(seconds / 86400))
  local number = year * 12 + month
  return number, first_day(math.floor((number + 1) / 12), (number + 1) % 12) * 86400000000
end

local now = tonumber(ARGV[14]) or microseconds()
local w, ends = window_of(now)
local new = kind == 'rate' and now or 0

local stored = redis.call('HMGET', KEYS[1], 'v', 'n', 'g', 'b', 'm', 'w')
local v, n, g, b, m = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3]), tonumber(stored[4]), tonumber(stored[5])
local changed, restored = false, 0
if known.n > 0 and known.w ~= w then
  charge = 0  -- it was of a window that has ended meanwhile
end
if not v or tonumber(stored[6]) ~= w then
  v, n, g, b, m = new, 0, now, new, 0
end
if known.w == w and known.n > 0 then
  if known.g == g and known.n > n then
    g, b, m = now, v, n
    if g == known.g then g = g + 1 end
  end
  -- Changes of a rate are counted anew whenever it came back in full; its tat tells by itself.
  if known.g ~= g and (known.n > m or (kind == 'rate' and known.v > b)) then
    local missing = math.max(0, known.v - b)
    if missing > 0 then restored = 1 end
    v, b, m, n = v + missing, b + missing, math.max(m, known.n), math.max(n, known.n)
    changed = true
  end
end

local room
if kind == 'rate' then
  if charge > 0 then
    v = math.max(v, now) + math.ceil(charge * per_unit)
  else
    v = v - math.floor(-charge * per_unit)
  end
  room = math.floor((math.ceil(amount * per_unit) - math.max(0, v - now)) / per_unit)
else
  -- What was forgotten cannot be given back; an operator may give more than the amount.
  v = is_gift and v + charge or math.max(math.min(0, v), v + charge)
  room = amount - v
end

local granted = 0
if room >= need then
  granted = need + math.max(0, math.min(want, math.floor((room - need) / divisor)))
elseif room >= least then
  granted = math.max(0, room)
end
if granted > 0 then
  v = kind == 'rate' and math.max(v, now) + math.ceil(granted * per_unit) or v + granted
end

if changed or granted > 0 or charge ~= 0 then
  n = n + 1
  local text = function(number) return string.format('%.0f', number) end
  redis.call('HSET', KEYS[1], 'v', text(v), 'n', text(n), 'g', text(g), 'b', text(b), 'm', text(m), 'w', text(w))
  local left = (kind == 'rate' and v or ends) - now
  redis.call('PEXPIRE', KEYS[1], text(math.max(1000, math.ceil(left / 1000))))
end
return {granted, v, n, g, w, now, ends, restored}
