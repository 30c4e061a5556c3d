//go:build unix

package agent

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/proc"
)

// TestMain lets this binary play its other parts: the init of a test, the
// program that the exec runner starts, and a whole agent process that tests
// may kill.
func TestMain(m *testing.M) {
	proc.MaybeInit()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "-avd":
			os.Exit(fakeEmulator(os.Args[1:]))
		case "test-program":
			os.Exit(testProgram(os.Args[2:]))
		case "agent-process":
			os.Exit(agentProcess(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// testProgram is the program under the exec runner. Its test file holds its
// orders, one a line; without an exit it ends with 0.
func testProgram(args []string) int {
	if len(args) != 0 {
		fmt.Println("something was appended to the arguments:", args)
		return 99
	}
	f, err := os.Open(os.Getenv("QGJOB_TEST_PATH"))
	if err != nil {
		fmt.Println(err)
		return 98
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		code, over, err := obey(word, rest)
		if err != nil {
			fmt.Println(err)
			return 97
		}
		if over {
			return code
		}
	}
	return 0
}

func obey(word, rest string) (code int, over bool, err error) {
	first, second, _ := strings.Cut(rest, " ")
	switch word {
	case "say":
		fmt.Println(rest)
	case "exit":
		code, err = strconv.Atoi(rest)
		return code, true, err
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "lines":
		n, err := strconv.Atoi(rest)
		for i := range n {
			fmt.Printf("line %06d of a long log\n", i)
		}
		return 0, false, err
	case "block":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt)
		fmt.Println("blocks")
		<-stop
		fmt.Println("interrupted")
		return 0, true, nil // a pass, if anybody believed it
	case "stubborn":
		signal.Ignore(os.Interrupt)
		fmt.Println("blocks")
		select {}
	case "hold": // a pipe, until death
		f, err := os.OpenFile(rest, os.O_WRONLY, 0)
		if err != nil {
			return 0, false, err
		}
		fmt.Println("holds", f.Name())
		select {}
	case "await": // until somebody opens the pipe and closes it
		return 0, false, await(rest)
	case "die":
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return 0, false, err
		}
		select {}
	case "app":
		text, err := os.ReadFile(os.Getenv("QGJOB_APP_PATH"))
		fmt.Printf("app %s: %s\n", filepath.Base(os.Getenv("QGJOB_APP_PATH")), text)
		return 0, false, err
	case "report":
		return 0, false, os.WriteFile(filepath.Join(os.Getenv("QGJOB_REPORT_DIR"), first), []byte(second), 0o600)
	case "output":
		return 0, false, os.WriteFile(filepath.Join(os.Getenv("QGJOB_OUTPUT_DIR"), first), []byte(second), 0o600)
	case "link":
		return 0, false, os.Symlink(second, filepath.Join(os.Getenv("QGJOB_OUTPUT_DIR"), first))
	case "pipe":
		return 0, false, syscall.Mkfifo(filepath.Join(os.Getenv("QGJOB_OUTPUT_DIR"), rest), 0o600)
	default:
		err = fmt.Errorf("no such order: %s", word)
	}
	return 0, false, err
}

func await(pipe string) error {
	fmt.Println("waits")
	f, err := os.Open(pipe)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}
