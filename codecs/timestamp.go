package codecs

// Event times lie in [0, maxMillis): from 1970 up to the start of 2262, the
// years that Unix nanoseconds can express in full.
const maxMillis = 9_214_646_400_000

// epochMillis reads an epoch number whose syntax has been checked. Its size
// tells the unit: the thresholds leave every unit the years 1973 to 5138.
func epochMillis(s []byte) (int64, bool) {
	n := parseDecimal(s)
	v, _, ok := n.scale(0)
	if !ok {
		return 0, false
	}
	switch {
	case v < 1e11:
		v, _, ok = n.scale(3) // with its fraction
	case v < 1e14:
	case v < 1e17:
		v /= 1e3
	default:
		v /= 1e6
	}
	return v, ok && v < maxMillis
}

// rfc3339Millis reads a time such as 2025-04-05T10:00:00.123+02:00. A leap
// second is the first instant of the next minute, as in Unix time.
func rfc3339Millis(s []byte) (int64, bool) {
	if len(s) < len("2025-04-05T10:00:00Z") || s[4] != '-' || s[7] != '-' ||
		s[10]|0x20 != 't' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	century, yy := pair(s, 0), pair(s, 2)
	year, month, day := century*100+yy, pair(s, 5), pair(s, 8)
	hour, minute, second := pair(s, 11), pair(s, 14), pair(s, 17)
	if century < 0 || yy < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(month, year) ||
		uint(hour) > 23 || uint(minute) > 59 || uint(second) > 60 {
		return 0, false
	}
	i, fraction := 19, 0
	if s[i] == '.' {
		for unit := 100; ; unit /= 10 { // further digits have no weight
			if i++; i >= len(s) || s[i] < '0' || s[i] > '9' {
				break
			}
			fraction += int(s[i]-'0') * unit
		}
		if i == 20 {
			return 0, false
		}
	}
	offset, ok := offsetMinutes(s[i:])
	if !ok {
		return 0, false
	}
	minutes := (daysSinceEpoch(year, month, day)*24+hour)*60 + minute - offset
	if second == 60 && (minutes+1)%(24*60) != 0 {
		return 0, false // a leap second ends a UTC day
	}
	v := int64(minutes*60+second)*1000 + int64(fraction)
	return v, 0 <= v && v < maxMillis
}

// offsetMinutes reads Z or ±hh:mm, to the end of s.
func offsetMinutes(s []byte) (int, bool) {
	if len(s) == 1 {
		return 0, s[0]|0x20 == 'z'
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hour, minute := pair(s, 1), pair(s, 4)
	if uint(hour) > 23 || uint(minute) > 59 {
		return 0, false
	}
	if s[0] == '-' {
		return -hour*60 - minute, true
	}
	return hour*60 + minute, true
}

// pair reads two digits; it is negative if they are none.
func pair(s []byte, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return -1
	}
	return int(a)*10 + int(b)
}

func daysIn(month, year int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 to a date of the Gregorian
// calendar. Years are taken to begin in March, so that the leap day is last.
func daysSinceEpoch(year, month, day int) int {
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	const fromMarchOfYear0 = 719_468
	return 365*year + year/4 - year/100 + year/400 + (153*month+2)/5 + day - 1 - fromMarchOfYear0
}
