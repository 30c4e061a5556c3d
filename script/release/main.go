// Command release builds what a release holds: the program for three systems and two architectures, a parts list (SBOM) of each, and
// checksums.txt over all of them. The same commit, version and Go give the same bytes, wherever it is built.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// platforms are what is built for, as GOOS/GOARCH.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one release in the making.
type release struct {
	source, dist    string
	version, commit string
	out             io.Writer
}

// fit is what may stand in a file's name and in a linker's flag.
var fit = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]*$`)

func run(ctx context.Context, args []string, out io.Writer) error {
	r := release{out: out}
	var only string
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.source, "source", ".", "the source tree")
	flags.StringVar(&r.dist, "dist", "dist", "the folder to fill; what lies in it goes")
	flags.StringVar(&r.version, "version", "", "such as v1.2.3")
	flags.StringVar(&r.commit, "commit", "", "the commit that is built; may be empty")
	flags.StringVar(&only, "platforms", strings.Join(platforms, ","), "GOOS/GOARCH, separated by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !fit.MatchString(r.version) {
		return fmt.Errorf("-version %q must be made of letters, digits, dots, dashes and plus signs", r.version)
	}
	if r.commit != "" && !fit.MatchString(r.commit) {
		return fmt.Errorf("-commit %q is no commit", r.commit)
	}
	if err := os.RemoveAll(r.dist); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dist, 0o755); err != nil {
		return err
	}
	for platform := range strings.SplitSeq(only, ",") {
		if !slices.Contains(platforms, platform) {
			return fmt.Errorf("-platforms: %q is none of %s", platform, strings.Join(platforms, ", "))
		}
		if err := r.build(ctx, platform); err != nil {
			return err
		}
	}
	return r.checksums()
}

// room is where the linker leaves version and commit.
const room = "github.com/qualgent/qgjob/internal/cli"

// name is a program's file name without its ending.
func (r *release) name(platform string) string {
	return "qgjob_" + strings.TrimPrefix(r.version, "v") + "_" + strings.ReplaceAll(platform, "/", "_")
}

// build builds one program and writes its parts list.
func (r *release) build(ctx context.Context, platform string) error {
	system, arch, _ := strings.Cut(platform, "/")
	name := r.name(platform)
	if system == "windows" {
		name += ".exe"
	}
	dist, err := filepath.Abs(r.dist)
	if err != nil {
		return err
	}
	program := filepath.Join(dist, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-C", r.source, "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X "+room+".Version="+r.version+" -X "+room+".Commit="+r.commit, "-o", program, "./cmd/qgjob")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", platform, err, said)
	}
	parts, err := partsOf(program, r.version)
	if err != nil {
		return fmt.Errorf("list the parts of %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dist, r.name(platform)+".cdx.json"), parts, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.out, "built", name)
	return err
}

// checksums writes checksums.txt, which sha256sum --check reads.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.dist) // sorted by name
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		sum, err := hashFile(filepath.Join(r.dist, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(filepath.Join(r.dist, "checksums.txt"), []byte(b.String()), 0o644)
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
