package boot

import "os"

func writeReport(file string, passed bool) error { return os.WriteFile(file, nil, 0o644) }
