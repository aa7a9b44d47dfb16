package records

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

const (
	// maxValue bounds what stands at one name, in bytes of the store.
	maxValue = 64 << 10
	// maxAtName is how many records a name may have, maxNames how many names may
	// have records.
	maxAtName = 100
	maxNames  = 100_000
)

var errValue = errors.New("it is not what dockstack writes")

// wire is what stands under a name's key. Later versions add to it.
type wire struct {
	Records []wireRecord `json:"records"`
}

type wireRecord struct {
	Type string `json:"type"`
	Data string `json:"data"`
	TTL  uint32 `json:"ttl,omitempty"`
}

// encode makes equal values of equal lists; nil of none.
func encode(list []Record) ([]byte, error) {
	if len(list) == 0 {
		return nil, nil
	}
	w := wire{Records: make([]wireRecord, len(list))}
	for i, rec := range list {
		w.Records[i] = wireRecord{Type: dns.TypeToString[rec.Type], Data: rec.Data, TTL: rec.TTL}
	}
	value, err := json.Marshal(w)
	if err == nil && len(value) > maxValue {
		err = fmt.Errorf("%w: too much for one name: %d bytes", ErrUsage, len(value))
	}
	return value, err
}

// decode reads what stands under a name's key. All of it has to be understood:
// a name with half its records would be worse than none.
func decode(name string, value []byte) ([]Record, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes", errValue, len(value))
	}
	var w wire
	if err := json.Unmarshal(value, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", errValue, err)
	}
	if len(w.Records) == 0 || len(w.Records) > maxAtName {
		return nil, fmt.Errorf("%w: %d records", errValue, len(w.Records))
	}
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", errValue, err)
	}
	var list []Record
	for _, got := range w.Records {
		rec := Record{Name: name, Type: dns.StringToType[got.Type], Data: got.Data, TTL: got.TTL}
		if err := rec.check(); err != nil {
			return nil, fmt.Errorf("%w: %w", errValue, err)
		}
		list = append(list, rec)
	}
	slices.SortFunc(list, compare)
	if !slices.Equal(list, slices.Compact(slices.Clone(list))) || len(list) > 1 && hasCNAME(list) {
		return nil, fmt.Errorf("%w: records that exclude each other", errValue)
	}
	return list, nil
}

func hasCNAME(list []Record) bool {
	return slices.ContainsFunc(list, func(r Record) bool { return r.Type == dns.TypeCNAME })
}
