-- Requests for wrk: a file has a line `METHOD <tab> PATH <tab> BODY` for each.
-- NNNNNNNNNNNNNNNN in the first of them stands for a number that no other request has.
-- The order is "turn", one after the other again and again; "draw", each drawn at random; or
-- "once", which ends with the last, and counts the time until then. The last line of the output is
-- the result as JSON, in microseconds.

local ffi = require("ffi")
ffi.cdef [[
   typedef struct { long seconds, nanoseconds; } instant;
   int clock_gettime(int clock, instant *now);
]]
local CLOCK_MONOTONIC = 1
local requests, sent, numbered, base, drawn, threads = {}, 0, false, 0, false, {}

local function now()
   local found = ffi.new("instant")
   ffi.C.clock_gettime(CLOCK_MONOTONIC, found)
   return tonumber(found.seconds) * 1e6 + tonumber(found.nanoseconds) / 1e3
end

function setup(thread)
   threads[#threads + 1] = thread
end

function init(args)
   base, drawn = tonumber(args[2]), args[3] == "draw"
   math.randomseed(base)
   for line in io.lines(args[1]) do
      local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
      requests[#requests + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
   end
   numbered = requests[1]:find("NNNNNNNNNNNNNNNN", 1, true) ~= nil
   if args[3] == "once" then
      began, ended = now(), now()
      response = function() ended = now() end
      once = true
   end
end

function request()
   if once and sent == #requests then
      wrk.thread:stop()
   end
   local text = requests[drawn and math.random(#requests) or sent % #requests + 1]
   sent = sent + 1
   if numbered then
      text = text:gsub("NNNNNNNNNNNNNNNN", string.format("%016d", base + sent))
   end
   return text
end

function done(summary, latency)
   local errors, duration = summary.errors, summary.duration
   if threads[1]:get("once") then
      duration = threads[1]:get("ended") - threads[1]:get("began")
   end
   io.write(string.format(
      '{"requests":%d,"duration":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
      summary.requests, duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
