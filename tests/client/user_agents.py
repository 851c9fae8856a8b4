"""
User-Agents as programs of 2025 and 2026 send them, with the name and the kind that a person should read.

We composed each from the program's known form; none is copied from a list.
"""

# ruff: noqa: E501 - a User-Agent on one line can be searched for
from typing import Final

WINDOWS: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"  # Windows 11 says the same
MAC: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
LINUX: Final = "Mozilla/5.0 (X11; Linux x86_64)"
CHROMEBOOK: Final = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)"
ANDROID: Final = "Mozilla/5.0 (Linux; Android 10; K)"
WEBVIEW: Final = "Mozilla/5.0 (Linux; Android 16; Pixel 9 Build/BP2A.250805.005; wv)"
IPHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X)"
IPAD: Final = "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X)"
LIKE: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
BLINK: Final = f"{LIKE} Chrome/140.0.0.0"
VIEW: Final = f"{LIKE} Version/4.0 Chrome/140.0.7339.51 Mobile Safari/537.36"
WEBKIT: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
GECKO: Final = "rv:143.0) Gecko/20100101 Firefox/143.0"
SAFARI: Final = "Safari/537.36"

COMPUTERS: Final = [
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; {GECKO}", "Firefox on Windows", "desktop"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; {GECKO}", "Firefox on macOS", "desktop"),
    (f"Mozilla/5.0 (X11; Linux x86_64; {GECKO}", "Firefox on Linux", "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0a1", "Firefox on Linux", "desktop"),
    (f"Mozilla/5.0 (X11; FreeBSD amd64; {GECKO}", "Firefox on FreeBSD", "desktop"),
    # Tor Browser looks like a Firefox ESR, on purpose.
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox on Windows",
        "desktop",
    ),
    (f"{WINDOWS} {BLINK} {SAFARI}", "Chrome on Windows", "desktop"),
    (f"{MAC} {BLINK} {SAFARI}", "Chrome on macOS", "desktop"),  # Brave sends the same
    (f"{LINUX} {BLINK} {SAFARI}", "Chrome on Linux", "desktop"),
    (f"{CHROMEBOOK} {BLINK} {SAFARI}", "Chrome on ChromeOS", "desktop"),
    (f"{LINUX} {LIKE} HeadlessChrome/140.0.0.0 {SAFARI}", "Headless Chrome on Linux", "desktop"),
    (f"{MAC} {WEBKIT} Version/18.6 Safari/605.1.15", "Safari on macOS", "desktop"),
    (f"{MAC} {WEBKIT} Version/26.0 Safari/605.1.15", "Safari on macOS", "desktop"),
    (f"{MAC} {WEBKIT}", "Safari on macOS", "desktop"),  # a web view, or a page in the Dock
    (f"{MAC} {WEBKIT} Version/18.6 Safari/605.1.15 Ddg/18.6", "DuckDuckGo on macOS", "desktop"),
    (f"{LINUX} {WEBKIT} Version/18.0 Safari/605.1.15 Epiphany/48.0", "Epiphany on Linux", "desktop"),
    (f"{WINDOWS} {BLINK} {SAFARI} Edg/140.0.0.0", "Edge on Windows", "desktop"),
    (f"{MAC} {BLINK} {SAFARI} Edg/140.0.3485.54", "Edge on macOS", "desktop"),
    (f"{LINUX} {BLINK} {SAFARI} OPR/122.0.0.0", "Opera on Linux", "desktop"),
    (f"{WINDOWS} {BLINK} {SAFARI} OPR/122.0.0.0 (Edition GX-CN)", "Opera GX on Windows", "desktop"),
    (f"{WINDOWS} {BLINK} {SAFARI} Vivaldi/7.5.3735.66", "Vivaldi on Windows", "desktop"),
    (f"{WINDOWS} {BLINK} YaBrowser/25.8.0.0 {SAFARI}", "Yandex Browser on Windows", "desktop"),
    (f"{WINDOWS} {BLINK} Whale/4.33.325.17 {SAFARI}", "Whale on Windows", "desktop"),
    ("Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer on Windows", "desktop"),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 SeaMonkey/2.53",
        "SeaMonkey on Linux",
        "desktop",
    ),
    (
        (
            "Mozilla/5.0 (PC; OpenHarmony 5.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36"
            " ArkWeb/6.0.0.40 HuaweiBrowser/5.1.4.310"
        ),
        "Huawei Browser on HarmonyOS",
        "desktop",
    ),
    ("w3m/0.5.3+git20230121", "w3m", "desktop"),
    ("Lynx/2.9.2 libwww-FM/2.14FM SSL-MM/1.4.1 OpenSSL/3.4.1", "Lynx", "desktop"),
    ("Links (2.30; Linux 6.12 x86_64; GNU C 14.2; text)", "Links on Linux", "desktop"),
    ("ELinks/0.18.0 (textmode; Linux 6.12.5 x86_64; 120x40-2)", "ELinks on Linux", "desktop"),
    (f"{WINDOWS} Unheard-of", "Unknown browser on Windows", "desktop"),
]

DESKTOP_APPS: Final = [
    (
        f"{MAC} {LIKE} Slack/4.46.96 Chrome/138.0.7204.251 Electron/37.6.0 {SAFARI} Sonic Slack_SSB/4.46.96",
        "Slack on macOS",
        "desktop",
    ),
    (f"{WINDOWS} {LIKE} Slack/4.46.96 Chrome/138.0.7204.251 Electron/37.6.0 {SAFARI}", "Slack on Windows", "desktop"),
    (f"{LINUX} {LIKE} Code/1.105.1 Chrome/138.0.7204.251 Electron/37.6.0 {SAFARI}", "VS Code on Linux", "desktop"),
    (f"{MAC} {LIKE} Cursor/1.7.4 Chrome/138.0.7204.251 Electron/37.3.1 {SAFARI}", "Cursor on macOS", "desktop"),
    (
        f"{WINDOWS} {LIKE} discord/1.0.9210 Chrome/134.0.6998.205 Electron/35.3.0 {SAFARI}",
        "Discord on Windows",
        "desktop",
    ),
    (f"{WINDOWS} {BLINK} {SAFARI} Edg/140.0.0.0 Teams/25257.501.3964.1234/49", "Microsoft Teams on Windows", "desktop"),
    (f"{MAC} {LIKE} Notion/4.20.0 Chrome/138.0.7204.157 Electron/37.2.3 {SAFARI}", "Notion on macOS", "desktop"),
    (f"{LINUX} {LIKE} obsidian/1.9.14 Chrome/138.0.7204.235 Electron/37.4.0 {SAFARI}", "Obsidian on Linux", "desktop"),
    (
        f"{WINDOWS} {LIKE} Postman/11.66.0 Chrome/136.0.7103.177 Electron/36.7.1 {SAFARI}",
        "Postman on Windows",
        "desktop",
    ),
    (f"{LINUX} {LIKE} my-shop/1.0.0 Chrome/138.0.7204.251 Electron/37.6.0 {SAFARI}", "my-shop on Linux", "desktop"),
    (f"{LINUX} {LIKE} Chrome/138.0.7204.251 Electron/37.6.0 {SAFARI}", "Electron on Linux", "desktop"),
    (
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Valve Steam Client/default/1759461205) AppleWebKit/537.36"
            " (KHTML, like Gecko) Chrome/126.0.6478.183 Safari/537.36"
        ),
        "Steam on Windows",
        "desktop",
    ),
]

PHONES: Final = [
    ("Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", "Firefox on Android", "mobile"),
    (
        f"{ANDROID} {LIKE} Version/4.0 Focus/142.0 Chrome/140.0.0.0 Mobile {SAFARI}",
        "Firefox Focus on Android",
        "mobile",
    ),
    (f"{ANDROID} {LIKE} Version/4.0 Klar/142.0 Chrome/140.0.0.0 Mobile {SAFARI}", "Firefox Klar on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} FxiOS/143.0 Mobile/15E148 Safari/605.1.15", "Firefox on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Focus/143.0 Mobile/15E148 Safari/605.1.15", "Firefox Focus on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Klar/143.0 Mobile/15E148 Safari/605.1.15", "Firefox Klar on iOS", "mobile"),
    (f"{ANDROID} {BLINK} Mobile {SAFARI}", "Chrome on Android", "mobile"),
    (f"{WEBVIEW} {VIEW}", "Chrome on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} CriOS/140.0.7339.101 Mobile/15E148 Safari/604.1", "Chrome on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1", "Safari on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Mobile/15E148", "Safari on iOS", "mobile"),  # a page on the home screen
    (f"{ANDROID} {BLINK} Mobile {SAFARI} EdgA/140.0.0.0", "Edge on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.0 EdgiOS/140.0.0.0 Mobile/15E148 Safari/604.1", "Edge on iOS", "mobile"),
    (f"{ANDROID} {LIKE} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile {SAFARI}", "Samsung Internet on Android", "mobile"),
    (f"{ANDROID} {BLINK} Mobile {SAFARI} OPR/91.0.0.0", "Opera on Android", "mobile"),
    (f"{ANDROID} {BLINK} Mobile {SAFARI} OPX/2.9", "Opera GX on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1 OPT/5.5", "Opera on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1 OPX/3.0.1", "Opera GX on iOS", "mobile"),
    (
        "Opera/9.80 (Android; Opera Mini/91.0.2254/191.361; U; en) Presto/2.12.423 Version/12.16",
        "Opera Mini on Android",
        "mobile",
    ),
    (f"{ANDROID} {BLINK} Mobile {SAFARI} Vivaldi/7.5.3735.66", "Vivaldi on Android", "mobile"),
    (
        (
            "Mozilla/5.0 (Linux; U; Android 14; en-US; 23021RAA2Y Build/UKQ1.230917.001) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Version/4.0 Chrome/123.0.6312.80 UCBrowser/16.5.5.1313 Mobile Safari/537.36"
        ),
        "UC Browser on Android",
        "mobile",
    ),
    (
        (
            "Mozilla/5.0 (Linux; U; Android 15; en-gb; 2201116PG Build/AQ3A.240912.001) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Version/4.0 Chrome/135.0.7049.79 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.45.0-gn"
        ),
        "Mi Browser on Android",
        "mobile",
    ),
    (f"{ANDROID} {BLINK} Mobile DuckDuckGo/5 {SAFARI}", "DuckDuckGo on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.6 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15", "DuckDuckGo on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1 Ddg/18.6", "DuckDuckGo on iOS", "mobile"),
    (f"{ANDROID} {BLINK} YaBrowser/25.8.1.90.00 SA/3 Mobile {SAFARI}", "Yandex Browser on Android", "mobile"),
    (
        f"{IPHONE} {WEBKIT} Version/18.6 YaBrowser/25.8.3.421.10 Mobile/15E148 Safari/604.1",
        "Yandex Browser on iOS",
        "mobile",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 12; HarmonyOS; NOH-AN00; HMSCore 6.15.0.302) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/114.0.5735.196 HuaweiBrowser/16.0.2.301 Mobile Safari/537.36"
        ),
        "Huawei Browser on HarmonyOS",
        "mobile",
    ),
    (
        (
            "Mozilla/5.0 (Phone; OpenHarmony 5.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36"
            " ArkWeb/6.0.0.40 Mobile HuaweiBrowser/5.1.4.310"
        ),
        "Huawei Browser on HarmonyOS",
        "mobile",
    ),
    (
        (
            "Mozilla/5.0 (Phone; OpenHarmony 5.0; HarmonyOS 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0"
            " Safari/537.36 ArkWeb/4.1.6.1 Mobile"
        ),
        "App on HarmonyOS",
        "mobile",
    ),
    ("Mozilla/5.0 (Mobile; Nokia; rv:84.0) Gecko/84.0 Firefox/84.0 KAIOS/3.1", "Firefox on KaiOS", "mobile"),
    (
        (
            "Mozilla/5.0 (Linux; Android 14; SM-R960 Build/UWR1.230623) AppleWebKit/537.36 (KHTML, like Gecko)"
            " SamsungBrowser/4.2 Chrome/126.0.0.0 Mobile Safari/537.36"
        ),
        "Galaxy Watch",
        "mobile",
    ),
    ("Shop/2.1 (com.example.shop.watchkitapp; build:44; watchOS 11.6.0) Alamofire/5.10.2", "Apple Watch", "mobile"),
]

PHONE_APPS: Final = [
    (f"{WEBVIEW} {VIEW} [FB_IAB/FB4A;FBAV/530.0.0.48.74;IABMV/1;]", "Facebook on Android", "mobile"),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 [FBAN/FBIOS;FBAV/530.0.0.40.75;FBBV/812;FBDV/iPhone16,1;FBMD/iPhone;FBSN/iOS]",
        "Facebook on iOS",
        "mobile",
    ),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 [FBAN/MessengerForiOS;FBAV/525.0.0.34.106;FBBV/812;FBSN/iOS]",
        "Messenger on iOS",
        "mobile",
    ),
    (
        f"{WEBVIEW} {VIEW} Instagram 398.0.0.46.81 Android (36/16; 420dpi; 1080x2424; Google/google; Pixel 9)",
        "Instagram on Android",
        "mobile",
    ),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 Instagram 398.1.0.30.78 (iPhone16,1; iOS 18_6; en_GB; scale=3.00)",
        "Instagram on iOS",
        "mobile",
    ),
    (
        f"{WEBVIEW} {VIEW} trill_410803 JsSdk/1.0 NetType/WIFI Channel/googleplay BytedanceWebview/d8a21c6",
        "TikTok on Android",
        "mobile",
    ),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 musical_ly_41.8.0 JsSdk/2.0 NetType/WIFI Channel/App Store Region/GB",
        "TikTok on iOS",
        "mobile",
    ),
    (f"{WEBVIEW} {VIEW} [LinkedInApp]", "LinkedIn on Android", "mobile"),
    (f"{IPHONE} {WEBKIT} Mobile/15E148 [LinkedInApp]/9.31.3", "LinkedIn on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Mobile/15E148 WhatsApp/25.26.74", "WhatsApp on iOS", "mobile"),
    (f"{IPHONE} {WEBKIT} Mobile/15E148 Safari Line/15.13.0", "LINE on iOS", "mobile"),
    (f"{WEBVIEW} {VIEW} Line/15.13.1/IAB", "LINE on Android", "mobile"),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 MicroMessenger/8.0.62(0x18003e2f) NetType/WIFI Language/zh_CN",
        "WeChat on iOS",
        "mobile",
    ),
    (
        f"{WEBVIEW} {VIEW} MMWEBID/3402 MicroMessenger/8.0.62.2900(0x28003E56) WeChat/arm64 NetType/WIFI",
        "WeChat on Android",
        "mobile",
    ),
    (f"{IPHONE} {WEBKIT} GSA/385.0.802 Mobile/15E148 Safari/604.1", "Google app on iOS", "mobile"),
    (f"{WEBVIEW} {VIEW} GSA/16.36.56.sa.arm64", "Google app on Android", "mobile"),
    (
        f"{IPHONE} {WEBKIT} Mobile/15E148 Snapchat/13.58.0.36 (like Safari/8621.3.11, panda)",
        "Snapchat on iOS",
        "mobile",
    ),
    (f"{IPHONE} {WEBKIT} Mobile/15E148 Twitter for iPhone/11.20", "X on iOS", "mobile"),
    ("Dalvik/2.1.0 (Linux; U; Android 15; Pixel 9 Build/AP4A)", "App on Android", "mobile"),
    ("MyApp/1.4 CFNetwork/1496.0.7 Darwin/23.5.0", "MyApp on iOS", "mobile"),
    ("My%20Shop/45 CFNetwork/3826.600.41 Darwin/24.6.0", "My Shop on iOS", "mobile"),
    ("MyApp/2.0 (com.example.MyApp; build:7; iOS 18.6.0) Alamofire/5.10.2", "MyApp on iOS", "mobile"),
    ("MyApp/2.0 (Linux; Android 15; Pixel 9) okhttp/5.1.0", "MyApp on Android", "mobile"),
]

TABLETS: Final = [
    ("Mozilla/5.0 (Android 15; Tablet; rv:143.0) Gecko/143.0 Firefox/143.0", "Firefox on Android", "tablet"),
    (f"{IPAD} {WEBKIT} FxiOS/143.0 Mobile/15E148 Safari/605.1.15", "Firefox on iPadOS", "tablet"),
    (
        (
            "Mozilla/5.0 (iPad; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/144.0"
            "  Mobile/15E148 Safari/604.1"
        ),
        "Firefox on iPadOS",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/143.0"
            " Safari/605.1.15"
        ),
        "Firefox on iPadOS",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) AppleWebKit/605.1.15 (KHTML, like Gecko) Focus/143.0"
            " Safari/605.1.15"
        ),
        "Firefox Focus on iPadOS",
        "tablet",
    ),
    (f"{ANDROID} {BLINK} {SAFARI}", "Chrome on Android", "tablet"),
    (f"{IPAD} {WEBKIT} CriOS/140.0.7339.101 Mobile/15E148 Safari/604.1", "Chrome on iPadOS", "tablet"),
    (f"{MAC} {WEBKIT} CriOS/140 Version/18.6 Safari/605.1.15", "Chrome on iPadOS", "tablet"),
    (f"{IPAD} {WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1", "Safari on iPadOS", "tablet"),
    (f"{MAC} {WEBKIT} Mobile/15E148", "Safari on iPadOS", "tablet"),
    (f"{IPAD} {WEBKIT} Version/18.0 EdgiOS/140.0.0.0 Mobile/15E148 Safari/604.1", "Edge on iPadOS", "tablet"),
    (f"{MAC} {WEBKIT} Version/18.0 EdgiOS/140.0.0.0 Safari/605.1.15", "Edge on iPadOS", "tablet"),
    (f"{MAC} {WEBKIT} GSA/385.0.802 Safari/604.1", "Google app on iPadOS", "tablet"),
    (f"{ANDROID} {LIKE} SamsungBrowser/28.0 Chrome/130.0.0.0 {SAFARI}", "Samsung Internet on Android", "tablet"),
    (
        (
            "Mozilla/5.0 (Linux; Android 11; KFTRWI Build/RS8334) AppleWebKit/537.36 (KHTML, like Gecko) Silk/138.3.1"
            " like Chrome/138.0.7204.180 Safari/537.36"
        ),
        "Silk on Fire OS",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (Tablet; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36"
            " ArkWeb/6.0.0.40 HuaweiBrowser/5.1.4.310"
        ),
        "Huawei Browser on HarmonyOS",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 12; HarmonyOS; DBY-W09; HMSCore 6.15.0.302) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/114.0.5735.196 HuaweiBrowser/16.0.2.301 Safari/537.36"
        ),
        "Huawei Browser on HarmonyOS",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (X11; U; Linux armv7l like Android; en-us) AppleWebKit/531.2+ (KHTML, like Gecko) Version/5.0"
            " Safari/533.2+ Kindle/3.0+"
        ),
        "Kindle",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (Linux; U; Android 2.0; en-us;) AppleWebKit/538.1 (KHTML, like Gecko) Version/4.0 Mobile Safari/538.1"
            " (Kobo Touch 0390/4.43.23418)"
        ),
        "Kobo",
        "tablet",
    ),
    (
        "Mozilla/5.0 (Linux; PocketBook/U743g) AppleWebKit/538.1 (KHTML, like Gecko) PocketBook Safari/538.1",
        "PocketBook",
        "tablet",
    ),
    (
        (
            "Mozilla/5.0 (X11; GNU/Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/136.0.7103.92 Chrome/136.0.7103.92"
            " Safari/537.36 Tesla/2025.32.3-4c2e1a7b9d"
        ),
        "Tesla",
        "tablet",
    ),
]

TVS: Final = [
    (
        (
            "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.270 Safari/537.36"
            " WebAppManager"
        ),
        "LG TV",
        "tv",
    ),
    (
        "Mozilla/5.0 (Linux; NetCast; U) AppleWebKit/537.31 (KHTML, like Gecko) Chrome/38.0 Safari/537.31 SmartTV/10.0",
        "LG TV",
        "tv",
    ),
    (
        "Mozilla/5.0 (SMART-TV; LINUX; Tizen 9.0) AppleWebKit/537.36 (KHTML, like Gecko) 120.0.6099.5/9.0 TV Safari/537.36",
        "Samsung TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Tizen 8.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/7.1 Chrome/108.0.5359.1 TV"
            " Safari/537.36"
        ),
        "Samsung TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 14; Google TV Streamer Build/UTTC.250305.004; wv) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Version/4.0 Chrome/138.0.7204.63 Mobile Safari/537.36"
        ),
        "Google TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 12; SHIELD Android TV Build/SR1A.211012.001) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/140.0.0.0 Safari/537.36"
        ),
        "Android TV",
        "tv",
    ),
    ("Dalvik/2.1.0 (Linux; U; Android 12; BRAVIA 4K VH22 Build/STT2.230505.001)", "Sony TV", "tv"),
    (
        (
            "Mozilla/5.0 (Linux; Android 11; AFTKRT Build/RS8149) AppleWebKit/537.36 (KHTML, like Gecko) Silk/138.2.8"
            " like Chrome/138.0.7204.180 Safari/537.36"
        ),
        "Fire TV",
        "tv",
    ),
    ("Dalvik/2.1.0 (Linux; U; Android 9; AFTMM Build/PS7699.4987N)", "Fire TV", "tv"),
    ("AppleCoreMedia/1.0.0.22M84 (Apple TV; U; CPU OS 18_6 like Mac OS X; en_us)", "Apple TV", "tv"),
    ("AppleTV14,1/18.6", "Apple TV", "tv"),
    ("Shop/2.1 (com.example.shop.tv; build:44; tvOS 18.6.0) Alamofire/5.10.2", "Apple TV", "tv"),
    ("Roku/DVP-15.0 (15.0.4.4032-CU)", "Roku", "tv"),
    ("Mozilla/5.0 (Linux; Andr0id 9; Roku Express) Roku4630X/DVP-14.6", "Roku", "tv"),
    (
        (
            "Mozilla/5.0 (Linux; U; VIDAA 8.0; en-gb) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36"
            " HbbTV/1.6.1 (+DRM; Hisense; SmartTV_2025; V0000; HE55; ) VIDAA/8.0(Hisense;SmartTV;55A7)"
        ),
        "Hisense TV",
        "tv",
    ),
    (
        "Mozilla/5.0 (Linux; VIDAA/7.5) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0 Safari/537.36",
        "VIDAA TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux armv8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0 Safari/537.36 OPR/46.0 OMI/4.25"
            " HbbTV/1.6.1 (+DRM; Philips; 55PUS8909; 088.001; Philips_TV; ) NETTV/9.0"
        ),
        "Philips TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; ) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0 Safari/537.36"
            " HbbTV/1.6.1 (+DRM; Panasonic; VIERA 2024; 4.1; ; )"
        ),
        "Panasonic TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0 Safari/537.36"
            " HbbTV/1.6.1 (; Metz; MMS; 1.0; ; )"
        ),
        "TV",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.7204.63 Safari/537.36"
            " CrKey/1.56.500000 DeviceType/SmartSpeaker"
        ),
        "Chromecast",
        "tv",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 12; Chromecast Build/STTE.240315.002) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/138.0.7204.63 Safari/537.36"
        ),
        "Chromecast",
        "tv",
    ),
    (f"{WINDOWS} {BLINK} {SAFARI} VIZIO SmartCast(Conjure/SX7A-7.1.10)", "Vizio TV", "tv"),
]

CONSOLES: Final = [
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/12.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        "PlayStation 5",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (PlayStation; PlayStation 5/12.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0"
            " Safari/605.1.15"
        ),
        "PlayStation 5",
        "console",
    ),
    (
        "Mozilla/5.0 (PlayStation; PlayStation 4/13.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        "PlayStation 4",
        "console",
    ),
    (
        "Mozilla/5.0 (PlayStation Vita 3.74) AppleWebKit/537.73 (KHTML, like Gecko) Silk/3.2",
        "PlayStation Vita",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
        ),
        "Xbox",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
        ),
        "Xbox",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/613.0 (KHTML, like Gecko) NF/6.0.3.28.0"
            " NintendoBrowser/5.1.0.36500"
        ),
        "Nintendo Switch",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (Nintendo Switch 2; WebApplet) AppleWebKit/615.1 (KHTML, like Gecko) NF/7.0.1"
            " NintendoBrowser/6.0.0.1001"
        ),
        "Nintendo Switch 2",
        "console",
    ),
    ("Mozilla/5.0 (Nintendo 3DS; U; ; en) Version/1.7630.EU", "Nintendo 3DS", "console"),
    (
        (
            "Mozilla/5.0 (New Nintendo 3DS like iPhone) AppleWebKit/536.30 (KHTML, like Gecko) NX/3.0.0.5.24 Mobile"
            " NintendoBrowser/1.12.10178.EU"
        ),
        "Nintendo 3DS",
        "console",
    ),
    (
        "Mozilla/5.0 (Nintendo WiiU) AppleWebKit/536.30 (KHTML, like Gecko) NX/3.0.4.2.13 NintendoBrowser/4.3.2.11274.EU",
        "Nintendo Wii U",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (X11; Linux x86_64; Valve Steam Gamepad/Steam Deck/1759461205) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/126.0.6478.183 Safari/537.36"
        ),
        "Steam Deck",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (X11; Linux x86_64; Quest 3) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/40.1.0"
            " Chrome/136.0.7103.177 VR Safari/537.36"
        ),
        "Meta Quest",
        "console",
    ),
    (
        (
            "Mozilla/5.0 (Linux; Android 14; Quest 3S) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/40.1.0"
            " Chrome/136.0.7103.177 Mobile VR Safari/537.36"
        ),
        "Meta Quest",
        "console",
    ),
]

PROGRAMS: Final = [
    ("curl/8.16.0", "curl", "program"),
    ("curl/8.7.1 (x86_64-apple-darwin24.0) libcurl/8.7.1 (SecureTransport)", "curl", "program"),
    ("libcurl/8.16.0", "libcurl", "program"),
    ("Wget/1.25.0", "Wget", "program"),
    ("Wget/1.21.4 (linux-gnu)", "Wget", "program"),
    ("HTTPie/3.2.4", "HTTPie", "program"),
    ("python-requests/2.32.5", "Python Requests", "program"),
    ("Python/3.13 aiohttp/3.13.0", "aiohttp", "program"),
    ("python-httpx/0.28.1", "HTTPX", "program"),
    ("Python-urllib/3.13", "Python", "program"),
    ("Go-http-client/2.0", "Go", "program"),
    ("okhttp/5.1.0", "okhttp", "program"),
    ("Java/21.0.8", "Java", "program"),
    ("Java-http-client/21.0.8", "Java", "program"),
    ("libwww-perl/6.78", "Perl", "program"),
    ("PostmanRuntime/7.48.0", "Postman", "program"),
    ("insomnia/11.6.1", "Insomnia", "program"),
    ("axios/1.12.2", "axios", "program"),
    ("node-fetch/1.0 (+https://github.com/node-fetch/node-fetch)", "Node.js", "program"),
    ("undici", "Node.js", "program"),
    ("node", "Node.js", "program"),
    ("Apache-HttpClient/5.5 (Java/21.0.8)", "Apache HttpClient", "program"),
    ("Dart/3.9 (dart:io)", "Dart", "program"),
    ("Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.26100.6584", "PowerShell", "program"),
    ("Mozilla/5.0 (Linux; Ubuntu 24.04.3 LTS; en-US) PowerShell/7.5.3", "PowerShell", "program"),
    ("git/2.51.0", "git", "program"),
    ("git/2.50.1 (Apple Git-155)", "git", "program"),
    ("GuzzleHttp/7", "Guzzle", "program"),
    ("Faraday v2.14.0", "Faraday", "program"),
    ("reqwest/0.12.23", "reqwest", "program"),
    ("our-importer/2.4 (Linux; ops@example.org)", "our-importer", "program"),
    ("com.example.sync/17", "com.example.sync", "program"),
]

BOTS: Final = [
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot", "bot"),
    (
        f"{ANDROID} {BLINK} Mobile {SAFARI} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Googlebot",
        "bot",
    ),
    (f"{LIKE}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 {SAFARI}", "bingbot", "bot"),
    (f"{LIKE}; compatible; GPTBot/1.3; +https://openai.com/gptbot)", "GPTBot", "bot"),
    (f"{LIKE}; compatible; ClaudeBot/1.0; +claudebot@example.com)", "ClaudeBot", "bot"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "Facebook", "bot"),
    ("Windows facebookexternalhit", "Facebook", "bot"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot", "bot"),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Discordbot", "bot"),
    ("TelegramBot (like TwitterBot)", "TelegramBot", "bot"),
    ("WhatsApp/2.25.26.74 A", "WhatsApp", "bot"),
    (
        f"{MAC} {WEBKIT} Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        "Applebot",
        "bot",
    ),
    (
        "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider)",
        "Bytespider",
        "bot",
    ),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "AhrefsBot", "bot"),
    ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "UptimeRobot", "bot"),
    ("Mozilla/5.0 (compatible; pingdom.com_bot_version_1.4; http://www.pingdom.com/)", "Pingdom", "bot"),
    ("kube-probe/1.34", "kube-probe", "bot"),
    ("ELB-HealthChecker/2.0", "ELB-HealthChecker", "bot"),
]

JUNK: Final = [
    ("<script>alert(1)</script>", "Unknown device", "unknown"),
    ("Mozilla/5.0", "Unknown device", "unknown"),
    ("Mozilla/5.0 (compatible)", "Unknown device", "unknown"),
    ("' OR 1=1 --", "Unknown device", "unknown"),
    ("hello", "Unknown device", "unknown"),
    ("-", "Unknown device", "unknown"),
    ("  ", "Unknown device", "unknown"),
    ("", "Unknown device", "unknown"),
    (None, "Unknown device", "unknown"),
    # Words that only contain the name of another thing:
    (f"Mozilla/5.0 (Linux; Android 13; CUBOT P80) {BLINK} Mobile {SAFARI}", "Chrome on Android", "mobile"),
    (f"Mozilla/5.0 (Linux; Android 13; TV-DL09) {BLINK} Mobile {SAFARI}", "Chrome on Android", "mobile"),
    (
        (
            "Mozilla/5.0 (Linux; Android 12; HarmonyOS; BOT-AL00) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0"
            " Mobile Safari/537.36"
        ),
        "Chrome on HarmonyOS",
        "mobile",
    ),
]

USER_AGENTS: Final[list[tuple[str | None, str, str]]] = [
    *COMPUTERS,
    *DESKTOP_APPS,
    *PHONES,
    *PHONE_APPS,
    *TABLETS,
    *TVS,
    *CONSOLES,
    *PROGRAMS,
    *BOTS,
    *JUNK,
]
