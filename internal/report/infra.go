package report

import (
	"regexp"
	"strings"

	"github.com/qualgent/qgjob"
)

// infraSigns tells failures of devices, browsers and workers from failures of tests. A sign is looked for at the head of a failure's first line
// only, where the framework speaks: what a test compares, prints or names further down cannot turn its failure into somebody else's.
// "Error: ", "WebDriverError: " and the like before it are taken off first.
var infraSigns = []struct {
	sign   *regexp.Regexp
	reason qgjob.Reason
	source string
}{
	{regexp.MustCompile(`^Failed to create (a )?(WebDriver |Appium )?session\b`), qgjob.ReasonDevice, "webdriver, as AppWright uses it: no session, no test"},
	{regexp.MustCompile(`^browserType\.\w+: .*([Ee]xecutable doesn't exist|ENOENT|missing dependencies|EACCES)`), qgjob.ReasonSetup, "Playwright: the browser is not installed"},
	{regexp.MustCompile(`^browserType\.(launch|launchServer|launchPersistentContext|connect|connectOverCDP): `), qgjob.ReasonDevice, "Playwright: the browser does not come up"},
	{regexp.MustCompile(`^browser\.newContext: Target .*closed`), qgjob.ReasonDevice, "Playwright: the browser died before the test began"},
	{regexp.MustCompile(`^browserContext\.newPage: Target .*closed`), qgjob.ReasonDevice, "Playwright: the browser died before the test began"},
	{regexp.MustCompile(`^[Ww]orker process exited unexpectedly`), qgjob.ReasonKilled, "Playwright: the worker crashed or was killed"},
	{regexp.MustCompile(`^Test timeout of \d+ms exceeded while setting up "(browser|persistentDevice)"`), qgjob.ReasonDevice, "Playwright, AppWright: the device was not ready"},
	{regexp.MustCompile(`^Unable to connect to "http`), qgjob.ReasonDevice, "webdriver 9: Appium does not answer"},
	{regexp.MustCompile(`^Request failed with error code (ECONNREFUSED|ECONNRESET)`), qgjob.ReasonDevice, "webdriver 8 and 9: Appium does not answer"},
	{regexp.MustCompile(`^Could not proxy command to the remote server`), qgjob.ReasonDevice, "Appium: its server on the device died"},
	{regexp.MustCompile(`^.{0,200}The instrumentation process (cannot be initialized|is not running)`), qgjob.ReasonDevice, "uiautomator2: its server on the device died"},
	{regexp.MustCompile(`^(invalid session id|A session is either terminated or not started)`), qgjob.ReasonDevice, "Appium: the session died during the test"},
	{regexp.MustCompile(`^(adb|error): (device '[^']*' not found|device offline|no devices/emulators found)`), qgjob.ReasonDevice, "adb: the device went away"},
}

// errorNames are what stands before an error's message in JavaScript: "Error: ", "WebDriverError: ".
var errorNames = regexp.MustCompile(`^(\w*Error: )+`)

// refused matches a refused connection with its address, as Node and Chromium write it.
var refused = regexp.MustCompile(`(?:connect ECONNREFUSED |net::ERR_CONNECTION_REFUSED at https?://)([^\s/"',)]+)`)

// suiteTimeout is Playwright's --global-timeout (playwright: runner/taskRunner.js). The same words about "global setup" or "teardown for test
// suite" are not about the tests.
var suiteTimeout = regexp.MustCompile(`^(Error: )?Timed out waiting [\d.]+m?s for the (test suite|entire test run) to run`)

// infrastructure gives the reason when a failure's message shows that the surroundings broke, ReasonNone when the failure is the test's own.
// serves lists the addresses that the agent itself serves: a connection refused there is our fault, anywhere else it is what the test found.
func infrastructure(message string, serves []string) qgjob.Reason {
	line := firstLine(message)
	head := errorNames.ReplaceAllString(line, "")
	for _, row := range infraSigns {
		if row.sign.MatchString(head) {
			return row.reason
		}
	}
	if strings.HasPrefix(head, "expect(") {
		return qgjob.ReasonNone
	}
	if m := refused.FindStringSubmatch(line); m != nil {
		for _, address := range serves {
			if m[1] == address {
				return qgjob.ReasonDevice
			}
		}
	}
	return qgjob.ReasonNone
}

// noTestsFound knows Playwright's complaint that no test matches its arguments.
func noTestsFound(text string) bool {
	return strings.HasPrefix(errorNames.ReplaceAllString(firstLine(text), ""), "No tests found")
}
