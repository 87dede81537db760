//! Dates as FAT has them (FAT specification, section 6.1): from 1980 to 2107, even seconds, here always UTC.

use bake_base::{Epoch, Timestamp};

/// 1980-01-01T00:00:00Z, before which FAT has no dates.
const FIRST: i64 = 315_532_800;
/// 2107-12-31T23:59:58Z, the last one.
const LAST: i64 = 4_354_819_198;

/// A date and a time, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DosTime {
    pub date: u16,
    pub time: u16,
}

impl DosTime {
    /// `time`, or the epoch where it is later; the nearest that FAT has.
    pub(super) fn new(time: Timestamp, epoch: Epoch) -> Self {
        let seconds = epoch.clamp(time).seconds.clamp(FIRST, LAST);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let date = (year - 1980) << 9 | month << 5 | day;
        let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
        Self { date: date as u16, time: time as u16 }
    }

    /// Seconds since 1970, or nothing when the date is none.
    pub(super) fn seconds(self) -> Option<i64> {
        let (year, month, day) = (self.date >> 9, self.date >> 5 & 15, self.date & 31);
        let (hour, minute, second) = (self.time >> 11, self.time >> 5 & 63, 2 * (self.time & 31));
        if !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days(1980 + i64::from(year), i64::from(month), i64::from(day));
        Some(((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second))
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are taken to begin
/// in March, so that the leap day is the last (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dos(seconds: i64) -> DosTime {
        DosTime::new(Timestamp::from_seconds(seconds), Epoch::from_seconds(u64::MAX))
    }

    fn encoded(year: u16, month: u16, day: u16, hour: u16, minute: u16, second: u16) -> DosTime {
        let date = (year - 1980) * 512 + month * 32 + day;
        DosTime { date, time: hour * 2048 + minute * 32 + second / 2 }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @N`: 2026-11-22 16:22:09, 2000-02-29 23:59:59.
        assert_eq!(dos(1_795_364_529), encoded(2026, 11, 22, 16, 22, 9));
        assert_eq!(dos(951_868_799), encoded(2000, 2, 29, 23, 59, 59));
    }

    #[test]
    fn what_fat_has_not_becomes_the_nearest() {
        assert_eq!(dos(-1), encoded(1980, 1, 1, 0, 0, 0));
        assert_eq!(dos(i64::MAX), encoded(2107, 12, 31, 23, 59, 59));
        let late = DosTime::new(Timestamp::from_seconds(2_000_000_000), Epoch::from_seconds(1_000_000_000));
        assert_eq!(late, dos(1_000_000_000));
    }

    #[test]
    fn every_day_comes_back() {
        for seconds in (FIRST..LAST).step_by(86_400 + 3602) {
            assert_eq!(dos(seconds).seconds(), Some(seconds & !1));
        }
        assert_eq!(DosTime { date: 0, time: 0 }.seconds(), None);
    }
}
