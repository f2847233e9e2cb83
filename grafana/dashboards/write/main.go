// Command write writes the dashboards into the folder it is run in; go generate runs it.
package main

import (
	"fmt"
	"os"

	"ragstreams/grafana/dashboards"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "write dashboards:", err)
		os.Exit(1)
	}
}

func write() error {
	for _, d := range dashboards.All() {
		data, err := d.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(d.File(), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
