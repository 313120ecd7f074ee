//! What an administrator says of people: who there is, whose aliases are one person, who is forgotten.
//!
//! Invariant: a name that is entered is one person's, or one group's; a person who loses an alias keeps
//! the name they were shown by. Everything is durable before it is known here.

use super::{AliasOf, People, mint, random};
use tallyroll_engine::device::Now;
use tallyroll_engine::hub::{CLOUD, Funds, Hub, Named};
use tallyroll_engine::store::Store;
use tallyroll_engine::{Error, Result};
use tallyroll_schema::limits::NAME_BYTES_MAX;
use tallyroll_schema::{DeviceId, SubjectId, UserAlias};

impl People {
    /// The mail address that was entered for a person.
    pub fn mail<S: Store>(&self, hub: &Hub<S>, subject: SubjectId) -> Option<&str> {
        let alias = entered(hub, subject)?;
        self.mails.get(&alias).map(String::as_str)
    }

    /// Every person with a name, by it.
    pub fn users(&self) -> impl Iterator<Item = SubjectId> {
        let mut subjects: Vec<SubjectId> = self.users.values().copied().collect();
        subjects.sort_by_key(|subject| (self.title(*subject).map(str::to_owned), *subject));
        subjects.dedup();
        subjects.into_iter()
    }

    /// Enters a person, or a mail address for one who is known.
    ///
    /// # Errors
    /// They are known and nothing is new; the name or the address is none; storage failed.
    pub fn enter<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        now: Now,
        name: &str,
        mail: Option<&str>,
    ) -> Result<SubjectId> {
        let known = self.subject(name);
        let alias = known.and_then(|subject| entered(hub, subject));
        if known.is_some() && mail.is_none() {
            let why = format!("there is a user {name} already; `tallyroll users show {name}`");
            return Err(Error::Rejected(why));
        }
        let subject = known.map_or_else(mint, Ok)?;
        // The name they are shown by stays, if it is another one.
        let shown = self.title(subject).unwrap_or(name).to_owned();
        let named = self.sealed(subject, alias, &shown, mail, false)?;
        self.commit(hub, now, vec![(named, shown)], Vec::new())?;
        Ok(subject)
    }

    /// Founds a group.
    ///
    /// # Errors
    /// There is one of that name; the name is none; storage failed.
    pub fn found<S: Store>(&mut self, hub: &mut Hub<S>, now: Now, name: &str) -> Result<SubjectId> {
        if self.group(name).is_some() {
            return Err(Error::Rejected(format!("there is a group {name} already")));
        }
        let group = mint()?;
        let named = self.sealed(group, None, name, None, true)?;
        self.commit(hub, now, vec![(named, name.to_owned())], Vec::new())?;
        Ok(group)
    }

    /// Has an alias be a person's; what it did and does counts to them from now on.
    ///
    /// # Errors
    /// It is theirs; storage failed.
    pub fn link<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        now: Now,
        of: AliasOf,
        subject: SubjectId,
    ) -> Result<()> {
        if hub.counts().subject(of.0, of.1) == Some(subject) {
            return Err(Error::Rejected("this alias is theirs already".into()));
        }
        let kept = self.keeping_its_name(hub, of)?;
        self.commit(hub, now, kept, vec![(of.0, of.1, subject)])
    }

    /// Has an alias be somebody else's, who is entered by a new name.
    ///
    /// # Errors
    /// Somebody has that name; storage failed.
    pub fn part<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        now: Now,
        of: AliasOf,
        name: &str,
    ) -> Result<SubjectId> {
        if self.subject(name).is_some() {
            let why = format!(
                "there is a user {name} already; `tallyroll users link {name} DEVICE ALIAS` gives them the alias"
            );
            return Err(Error::Rejected(why));
        }
        let subject = mint()?;
        let mut named = self.keeping_its_name(hub, of)?;
        named.push((self.sealed(subject, None, name, None, false)?, name.to_owned()));
        self.commit(hub, now, named, vec![(of.0, of.1, subject)])?;
        Ok(subject)
    }

    /// Forgets a person: their names are erased here and at every device.
    ///
    /// # Errors
    /// Not now, while the devices' logs are frozen; storage failed.
    pub fn forget<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        now: Now,
        subject: SubjectId,
    ) -> Result<()> {
        let theirs = hub.counts().links().filter(|(_, linked)| *linked == subject);
        let names = theirs.filter_map(|((device, alias), _)| self.name(device, alias));
        let mut known_by: Vec<_> = names.map(|name| self.key.known_by(name)).collect();
        known_by.sort_unstable();
        known_by.dedup();
        hub.forget(now, subject, known_by)?;
        self.drop_forgotten(hub.counts());
        Ok(())
    }

    /// The aliases at a device, also those that nobody is known by, that are called by `said`: the name that the device
    /// has for them, or the beginning of an alias's hex digits.
    pub fn aliases_at<S: Store>(
        &self,
        hub: &Hub<S>,
        device: DeviceId,
        said: &str,
    ) -> Vec<UserAlias> {
        let digits = said.trim_start_matches('(').trim_end_matches(')').to_ascii_lowercase();
        let at = hub.counts().links().map(|(of, _)| of).chain(nobodys(hub));
        let meant = at.filter(|(of, alias)| {
            let named = || self.name(*of, *alias) == Some(said);
            let begins = || digits.len() >= 4 && alias.to_string().starts_with(&digits);
            *of == device && (named() || begins())
        });
        meant.map(|(_, alias)| alias).collect()
    }

    pub(super) fn open_mail(&self, alias: UserAlias, sealed: &[u8]) -> Option<String> {
        self.key.open(&mail_row(), alias.as_bytes(), sealed).ok()
    }

    /// Who has an alias now and other ones beside it keeps the name that they are shown by.
    fn keeping_its_name<S: Store>(
        &self,
        hub: &Hub<S>,
        of: AliasOf,
    ) -> Result<Vec<(Named, String)>> {
        let Some(subject) = hub.counts().subject(of.0, of.1) else { return Ok(Vec::new()) };
        let mut links = hub.counts().links();
        let others = links.any(|(other, linked)| linked == subject && other != of);
        match self.title(subject) {
            Some(title) if others && entered(hub, subject).is_none() => {
                let named = self.sealed(subject, None, title, None, false)?;
                Ok(vec![(named, title.to_owned())])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn sealed(
        &self,
        subject: SubjectId,
        alias: Option<UserAlias>,
        name: &str,
        mail: Option<&str>,
        founds_group: bool,
    ) -> Result<Named> {
        let fits = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len());
        let fits = |text: &str| fits(text) && !text.contains(char::is_control);
        if !fits(name) {
            let why =
                format!("a name has 1 to {NAME_BYTES_MAX} bytes, none of them a control character");
            return Err(Error::Rejected(why));
        }
        if name.starts_with('(') {
            let why = "a name begins with no parenthesis: so are those shown who have none";
            return Err(Error::Rejected(why.into()));
        }
        if mail.is_some_and(|mail| !fits(mail) || !mail.contains('@')) {
            let why = format!("a mail address has an @, and at most {NAME_BYTES_MAX} bytes");
            return Err(Error::Rejected(why));
        }
        let alias = alias.map_or_else(|| random().map(UserAlias), Ok)?;
        let seal = |row: &[u8], text| {
            let sealed = self.key.seal(row, alias.as_bytes(), text);
            sealed.ok_or_else(|| Error::Rejected("this cannot be sealed".into()))
        };
        let mail = mail.map(|mail| seal(&mail_row(), mail)).transpose()?;
        let sealed = seal(CLOUD.as_bytes(), name)?;
        Ok(Named { subject, alias, sealed, mail, founds_group })
    }

    fn commit<S: Store>(
        &mut self,
        hub: &mut Hub<S>,
        now: Now,
        named: Vec<(Named, String)>,
        links: Vec<(DeviceId, UserAlias, SubjectId)>,
    ) -> Result<()> {
        let (rows, names): (Vec<Named>, Vec<String>) = named.into_iter().unzip();
        hub.name(now, rows.clone(), links)?;
        for (row, name) in rows.into_iter().zip(names) {
            self.names.insert((CLOUD, row.alias), name);
            let mail = row.mail.and_then(|sealed| self.open_mail(row.alias, &sealed));
            self.mails.extend(mail.map(|mail| (row.alias, mail)));
        }
        self.index(hub.counts());
        Ok(())
    }
}

/// The alias that a person has of this cloud.
fn entered<S: Store>(hub: &Hub<S>, subject: SubjectId) -> Option<UserAlias> {
    let mut own = hub.counts().links().take_while(|((device, _), _)| *device == CLOUD);
    own.find(|(_, linked)| *linked == subject).map(|((_, alias), _)| alias)
}

/// Stands for the device where a mail address is sealed, so that it opens as nobody's name.
fn mail_row() -> Vec<u8> {
    [CLOUD.as_bytes().as_slice(), b"mail"].concat()
}

/// The aliases of which nobody is known to be behind them: the names have not come, or what linked them was lost.
pub(crate) fn nobodys<S: Store>(hub: &Hub<S>) -> impl Iterator<Item = AliasOf> + use<S> {
    Funds::of_nobody(hub.counts()).into_keys()
}
