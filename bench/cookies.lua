-- wrk sends one of many session cookies with each request, in turn; the file's name comes in COOKIES.
local cookies = {}
local file = os.getenv("COOKIES")
if file then
  for line in io.lines(file) do cookies[#cookies + 1] = line end
end
local n = 0

function request()
  if #cookies == 0 then return wrk.format("GET", "/", { ["User-Agent"] = "wrk" }) end
  n = n % #cookies + 1
  return wrk.format("GET", "/", { Cookie = cookies[n], ["User-Agent"] = "wrk" })
end

function done(summary, latency)
  io.write(string.format(
    '\nJSON {"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f, "mean": %f}\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.mean / 1000))
end
