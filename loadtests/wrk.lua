-- The load of the closed loop: POST of a body of so many bytes by so many users in turn.
--   wrk ... -s loadtests/wrk.lua URL -- BYTES USERS KEY_HEADER
-- The last line of its output is a JSON object for loadtests/closedloop.py.

local SMALL = 1024 -- bodies up to here are formatted once per user; larger ones would fill the memory
local ready, users, at = {}, 0, 0
local key

local function format(user)
  wrk.headers[key] = "u" .. user
  return wrk.format()
end

function init(args)
  local bytes = tonumber(args[1])
  users, key = tonumber(args[2]), args[3]
  wrk.method = "POST"
  wrk.body = string.rep("x", bytes)
  wrk.headers["content-type"] = "application/json"
  if bytes <= SMALL then
    for user = 0, users - 1 do ready[user] = format(user) end
  end
end

function request()
  at = (at + 1) % users
  return ready[at] or format(at)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"errors":%d}\n', summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
