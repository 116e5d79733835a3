package applets

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// Format is the value of -o: table, json or yaml.
type Format string

// The output formats.
const (
	FormatTable Format = "table"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
)

// String returns the word of the format.
func (f *Format) String() string { return string(*f) }

// Type names the value in help texts.
func (f *Format) Type() string { return "table|json|yaml" }

// Set parses the word of a format.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case FormatTable, FormatJSON, FormatYAML:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("not an output format; use table, json or yaml")
}

// OutputFlag adds -o to flags, with table as its default.
func OutputFlag(flags *pflag.FlagSet) *Format {
	f := FormatTable
	flags.VarP(&f, "output", "o", "output `format`: table, json or yaml")
	return &f
}

// Print writes v as JSON or YAML, or calls table with a writer that aligns
// columns at tabs.
func (f Format) Print(w io.Writer, v any, table func(io.Writer)) error {
	switch f {
	case FormatJSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case FormatYAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	table(tw)
	return tw.Flush()
}

// Row writes a line of cells separated by tabs.
func Row(w io.Writer, cells ...any) {
	s := make([]string, len(cells))
	for i, c := range cells {
		s[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.Join(s, "\t"))
}

// Size prints a byte count with binary units, e.g. "1.5 GiB".
func Size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := uint64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	s := fmt.Sprintf("%.1f", float64(n)/float64(div))
	return strings.TrimSuffix(s, ".0") + " " + string("KMGTPE"[exp]) + "iB"
}

// PrintMessage is Print for a message of a contract: JSON and YAML have the
// field names of the .proto file, and every field, so that a script need not
// tell an absent value from a zero.
func (f Format) PrintMessage(w io.Writer, m proto.Message, table func(io.Writer)) error {
	if f == FormatTable {
		return f.Print(w, nil, table)
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	return f.Print(w, v, table)
}
