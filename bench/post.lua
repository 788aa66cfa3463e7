-- What wrk sends: the requests of a file in turn, a line `METHOD <tab> PATH <tab> BODY` for each.
-- NNNNNNNNNNNNNNNN in the first of them stands for a number that no other request has.
-- The last line of the output is the result as JSON, in microseconds.

local requests, sent, numbered, base = {}, 0, false, 0

function init(args)
   base = tonumber(args[2])
   for line in io.lines(args[1]) do
      local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
      requests[#requests + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
   end
   numbered = requests[1]:find("NNNNNNNNNNNNNNNN", 1, true) ~= nil
end

function request()
   local text = requests[sent % #requests + 1]
   sent = sent + 1
   if numbered then
      text = text:gsub("NNNNNNNNNNNNNNNN", string.format("%016d", base + sent))
   end
   return text
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
