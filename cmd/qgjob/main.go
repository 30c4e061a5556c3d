// Command qgjob queues mobile end-to-end tests, groups them by app version,
// runs them on a fleet of devices and tells CI the truth.
package main

import (
	"os"

	"github.com/qualgent/qgjob/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
