package cli

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/qualgent/qgjob/internal/agent"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/spf13/cobra"
)

func (a *app) upCmd() *cobra.Command {
	host := &serverOptions{localOnly: true}
	o := &agentOptions{}
	cmd := &cobra.Command{
		Use:   "up [-- PROGRAM ARGUMENT…]",
		Short: "Run a server and local agents in one process",
		Long: `Run a server and local agents in one process: for a laptop, and for trying
things out. It listens on loopback only. The first interrupt drains the agents
and then stops the server.`,
		Example: `  qgjob up --project=examples/shop
  qgjob up --agents=2 --target=emulator -- ./run-one-test.sh`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.takeArgs(cmd, args); err != nil {
				return err
			}
			return a.runUp(cmd.Context(), host, o)
		},
	}
	host.add(cmd)
	o.add(cmd)
	cmd.Flags().StringVar(&o.name, "name", "local", "the agents' id")
	cmd.Flags().IntVar(&o.slots, "agents", 1, "how many agents to run")
	return cmd
}

// runUp ends when the agents have left, or when the server fails.
func (a *app) runUp(ctx context.Context, host *serverOptions, o *agentOptions) error {
	o.stateDir = filepath.Join(host.dataDir, "agent")
	if err := o.checkHere(a, "agents"); err != nil {
		return err
	}
	config, err := o.config(a)
	if err != nil {
		return err
	}
	log := a.logger(o.verbose)
	r, err := a.openServer(ctx, host, log)
	if err != nil {
		return err
	}
	r.answer()
	a.answer("Server listening: %s", r.base)
	serving, stopServer := context.WithCancel(ctx)
	var server sync.WaitGroup
	var served error
	failed := make(chan struct{})
	server.Go(func() {
		served = r.serve(serving)
		close(failed)
	})
	err = a.upAgents(ctx, r, config, failed)
	stopServer()
	server.Wait()
	return errors.Join(served, err)
}

func (a *app) upAgents(ctx context.Context, r *running, config agent.Config, failed <-chan struct{}) error {
	var err error
	if config.Server, err = client.New(r.base, client.Options{Token: r.token, UserAgent: "qgjob/" + Version}); err != nil {
		return err
	}
	if err := config.Check(); err != nil {
		return err
	}
	steps := newLadder()
	config.Drain, config.Cancel = steps.drain, steps.cancel
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	signals := a.stops.take()
	watching.Go(func() { steps.climb(ctx, a, signals) })
	watching.Go(func() {
		select {
		case <-failed:
			stop() // without its server there is nothing to do
		case <-ctx.Done():
		}
	})
	err = agent.Run(ctx, config)
	stop()
	watching.Wait()
	if err == nil && steps.climbed > 1 {
		return verdict(exitInterrupted)
	}
	return err
}
