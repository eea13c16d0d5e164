package session

import (
	"fmt"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// checkHours refuses a login outside of its profile's hours, and says when those are over; the zero time: never.
func checkHours(p *store.Profile, now time.Time) (closes time.Time, err error) {
	if len(p.AllowedHours) == 0 {
		return time.Time{}, nil
	}
	zone, err := tenant.Zone(p.TimeZone)
	if err != nil {
		return time.Time{}, fmt.Errorf("the hours of %s: %w", p.Name, err)
	}
	hours := tenant.NewHours(p.AllowedHours, zone)
	if !hours.Allow(now) {
		return time.Time{}, &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonUserDisabled, outOfHours: true,
			detail:  fmt.Sprintf("%s in %s is outside of the allowed hours of %s", now.In(zone).Format("Mon 15:04"), zone, p.Name),
			message: "Logging in is not allowed at this time",
		}
	}
	return hours.Until(now), nil
}
