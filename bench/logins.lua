-- wrk signs in with each request, as one of many users.
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "/login/login" .. n % 100000, { ["User-Agent"] = "wrk" })
end
