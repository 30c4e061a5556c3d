package cli

import (
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
)

func (a *app) appCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "app",
		Short: "Upload and list app builds",
		Example: `  qgjob app upload --org-id=qualgent --app-version-id=xyz123 build/shop.apk
  qgjob app list --org-id=qualgent`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.appUploadCmd(), a.appListCmd())
	return cmd
}

func (a *app) appUploadCmd() *cobra.Command {
	var org, version string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "upload FILE",
		Short: "Upload the build of an app version; the same bytes are never sent twice",
		Long: `Upload the build of an app version. The build is kept by its SHA-256: an
identical file is not sent again, and a broken upload goes on where it stopped.
Another file for the same version replaces it for jobs submitted later.`,
		Example: "  qgjob app upload --org-id=qualgent --app-version-id=xyz123 build/shop.apk",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := qgjob.CheckName("org_id", org); err != nil {
				return err
			}
			if err := qgjob.CheckName("app_version_id", version); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := a.uploadApp(cmd.Context(), c, qgjob.OrgID(org), qgjob.AppVersionID(version), "app", args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(got)
			}
			a.answer("App uploaded: %s of %s (%s, sha256 %s)", got.AppVersionID, got.OrgID, size(got.Size), got.SHA256)
			return nil
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "the org that the app belongs to (QGJOB_ORG)")
	cmd.Flags().StringVar(&version, "app-version-id", "", "the app version (QGJOB_APP_VERSION)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) appListCmd() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List uploaded app builds",
		Example: "  qgjob app list --org-id=qualgent",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			apps, err := c.Apps(cmd.Context(), qgjob.OrgID(org))
			if err != nil {
				return err
			}
			return a.printApps(apps, asJSON)
		},
	}
	cmd.Flags().StringVar(&org, "org-id", "", "apps of this org only (QGJOB_ORG)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printApps(apps []qgjob.App, asJSON bool) error {
	if asJSON {
		return a.json(append([]qgjob.App{}, apps...))
	}
	if len(apps) == 0 {
		a.note("no apps were uploaded")
		return nil
	}
	rows := make([][]string, len(apps))
	now := time.Now()
	for i, p := range apps {
		rows[i] = []string{string(p.AppVersionID), p.FileName, size(p.Size), string(p.SHA256[:min(12, len(p.SHA256))]), ago(p.UploadedAt, now), string(p.OrgID)}
	}
	a.table(strings.Fields("APP-VERSION FILE SIZE SHA256 UPLOADED ORG"), rows)
	return nil
}
