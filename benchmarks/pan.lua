-- For wrk: each connection is a viewer, who asks for a tile of its own choice, waits, and asks for the next.
local paths = {}
for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = line end
local pace = tonumber(os.getenv("PACE_MS"))
local started = {}
function init(args) math.randomseed(os.time()) end
function delay() return pace > 0 and math.random(0, 2 * pace) or 0 end
function request() return wrk.format("GET", paths[math.random(#paths)]) end
local seen = {}
function response(status) seen[status] = (seen[status] or 0) + 1; count = count or {}; count[status] = seen[status] end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary, latency)
  local statuses = {}
  for _, thread in ipairs(threads) do
    for status, n in pairs(thread:get("count") or {}) do statuses[status] = (statuses[status] or 0) + n end
  end
  local parts = {}
  for status, n in pairs(statuses) do parts[#parts + 1] = string.format('"%d": %d', status, n) end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'JSON {"requests": %d, "seconds": %f, "bytes": %d, "errors": %d, "p50_ms": %f, "p99_ms": %f, "statuses": {%s}}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, errors,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, table.concat(parts, ", ")))
end
