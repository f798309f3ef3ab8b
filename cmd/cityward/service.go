package main

import (
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"cityward/collectors"
	"cityward/packaging"
)

// foreground satisfies kardianos/service, which is used here to talk to the
// service manager and never to run the daemon: it knows no readiness, watchdog
// or reload.
type foreground struct{}

func (foreground) Start(service.Service) error { return nil }
func (foreground) Stop(service.Service) error  { return nil }

func (p *program) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Install and steer the system service",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, action := range []struct{ name, short, done string }{
		{"install", "Write the unit and enable it", "installed; start it with: cityward service start"},
		{"uninstall", "Disable the unit and remove it and what is pinned", "uninstalled"},
		{"start", "Start the service", "started"},
		{"stop", "Stop the service", "stopped"},
		{"restart", "Restart the service", "restarted"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: action.name, Short: action.short, Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				s, err := systemService()
				if err != nil {
					return err
				}
				if err := service.Control(s, action.name); err != nil {
					return internal(fmt.Errorf("%s service: %w", action.name, err))
				}
				if action.name == "uninstall" {
					if err := p.unpin(); err != nil {
						return err
					}
				}
				_, err = fmt.Fprintf(p.stdout, "cityward is %s\n", action.done)
				return err
			},
		})
	}
	cmd.AddCommand(&cobra.Command{
		Use: "unpin", Short: "End the capture that goes on in the kernel while the service does not run",
		Long: `While the service does not run, the kernel goes on counting flows, so that none is
missed over a restart. This command ends that and drops what was counted meanwhile.
Where the service runs, its capture ends with it. The next start begins anew.

"cityward service uninstall" and the removal of the Debian package do the same.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := p.unpin(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, "cityward is unpinned")
			return err
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use: "status", Short: "Show whether the service runs", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.serviceStatus() },
	})
	return cmd
}

// unpin ends the pinned capture of the configuration in force.
func (p *program) unpin() error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	if err := collectors.Unpin(cfg); err != nil {
		return internal(err)
	}
	return nil
}

func (p *program) serviceStatus() error {
	s, err := systemService()
	if err != nil {
		return err
	}
	status, err := s.Status()
	if err != nil && !errors.Is(err, service.ErrNotInstalled) {
		return internal(fmt.Errorf("ask service manager: %w", err))
	}
	word := map[service.Status]string{service.StatusRunning: "running", service.StatusStopped: "stopped"}[status]
	if errors.Is(err, service.ErrNotInstalled) {
		word = "not installed"
	}
	_, err = fmt.Fprintf(p.stdout, "cityward is %s\n", word)
	return err
}

func systemService() (service.Service, error) {
	s, err := service.New(foreground{}, &service.Config{
		Name:   "cityward",
		Option: service.KeyValue{"SystemdScript": unitTemplate()},
	})
	if err != nil {
		return nil, usage(fmt.Errorf("find service manager: %w", err))
	}
	return s, nil
}

// unitTemplate is the packaged unit. Where no package made the system user,
// systemd makes one while the service runs: systemd.exec(5), DynamicUser=.
func unitTemplate() string {
	unit := packaging.UnitTemplate()
	if _, err := user.Lookup("cityward"); err != nil {
		unit = strings.Replace(unit, "User=cityward\n", "User=cityward\nDynamicUser=yes\n", 1)
	}
	return unit
}
