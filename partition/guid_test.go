package partition

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestGUIDByteOrder(t *testing.T) {
	// The example of UEFI 2.10, appendix A.
	g := MustGUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	want := GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	if g != want {
		t.Errorf("got % x", g)
	}
	if got := g.String(); got != "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" {
		t.Errorf("got %s", got)
	}
}

func TestNameGUIDAgreesWithAnotherLibrary(t *testing.T) {
	space := MustGUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	want := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("EFI"))
	if got := NameGUID(space, "EFI"); !strings.EqualFold(got.String(), want.String()) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNewGUIDIsRandomVersion4(t *testing.T) {
	a, b := NewGUID(), NewGUID()
	u, err := uuid.Parse(a.String())
	if err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 || a == b {
		t.Errorf("%s, %s, %v", a, b, err)
	}
}

func TestGUIDInJSON(t *testing.T) {
	b, err := json.Marshal(TypeESP)
	var g GUID
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil || g != TypeESP {
		t.Errorf("%s, %v", b, err)
	}
	if json.Unmarshal([]byte(`"nonsense"`), &g) == nil {
		t.Error("nonsense was read")
	}
}

func FuzzParseGUID(f *testing.F) {
	f.Add("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	f.Add("c12a7328-f81f-11d2-ba4b-00a0c93ec93")
	f.Add("c12a7328-f81f-11d2-ba4b-00a0c93ec9-b")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGUID(s)
		if err == nil && !strings.EqualFold(g.String(), s) {
			t.Errorf("%q became %s", s, g)
		}
	})
}

func TestAttributesString(t *testing.T) {
	for a, want := range map[Attributes]string{
		0:                              "",
		Required | NoBlockIO:           "required,no-block-io",
		LegacyBootable | Unformatted:   "legacy-bootable,unformatted",
		ReadOnly | 1<<62 | NoAutomount: "read-only,bit-62,no-automount",
	} {
		if got := a.String(); got != want {
			t.Errorf("%x: got %q, want %q", uint64(a), got, want)
		}
	}
	if !(Required | ReadOnly).Has(ReadOnly) || Required.Has(Required|ReadOnly) {
		t.Error("Has is wrong")
	}
}
