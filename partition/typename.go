package partition

// TypeName returns a word for a partition type, ours or a common one of
// others, or nothing.
func TypeName(typ GUID) string {
	return typeNames[typ]
}

var typeNames = map[GUID]string{
	TypeESP:       "EFI system",
	TypeBIOS:      "BIOS boot",
	TypeBoot:      "Ichor boot",
	TypeMeta:      "Ichor meta",
	TypeState:     "Ichor state",
	TypeEphemeral: "Ichor ephemeral",
	MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4"): "Linux data",
	MustGUID("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"): "Linux swap",
	MustGUID("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"): "Linux root",
	MustGUID("E6D6D379-F507-44C2-A23C-238F2A3DF928"): "Linux LVM",
	MustGUID("A19D880F-05FC-4D3B-A006-743F0F84911E"): "Linux RAID",
	MustGUID("BC13C2FF-59E6-4262-A352-B275FD6F7172"): "Linux extended boot",
	MustGUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"): "basic data",
	MustGUID("E3C9E316-0B5C-4DB8-817D-F92DF00215AE"): "Microsoft reserved",
}
