package mount

import (
	"strings"

	"ichor/mount"
	pb "ichor/rpc/mount/v1"
)

// states are the states in the words of the contract.
var states = map[mount.State]pb.State{
	mount.Mounted:   pb.State_STATE_MOUNTED,
	mount.Missing:   pb.State_STATE_MISSING,
	mount.Different: pb.State_STATE_DIFFERENT,
	mount.Extra:     pb.State_STATE_EXTRA,
	mount.Absent:    pb.State_STATE_ABSENT,
}

// stateOf is the way back.
func stateOf(s pb.State) mount.State {
	for state, wire := range states {
		if wire == s {
			return state
		}
	}
	return mount.State(strings.ToLower(strings.TrimPrefix(s.String(), "STATE_")))
}

func wireEntry(e mount.Entry) *pb.TableResponse_Entry {
	return &pb.TableResponse_Entry{Row: wireRow(e.Row), State: states[e.State], Difference: e.Difference}
}

func wireRow(r mount.Row) *pb.Row {
	return &pb.Row{
		Name: r.Name, Source: r.Source, Target: r.Target, Type: r.Type, Flags: r.Flags.Words(), Data: r.Data,
		Layer: string(r.Layer), Phase: string(r.Phase), Optional: r.Optional,
	}
}

func wireMounted(m *mount.Info) *pb.ListResponse_Mounted {
	return &pb.ListResponse_Mounted{
		Source: m.Source, Target: m.Mountpoint, Type: m.FSType, Root: m.Root,
		Options: strings.Split(m.Options, ","), Data: strings.Split(m.VFSOptions, ","),
	}
}
