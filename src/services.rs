//! What notifications go out by: the services that are configured, each with its drivers.

use notify_api::{
    Driver,
    drivers::{
        every8d::Every8d,
        http::{HttpGet, HttpPost, Validator},
        mask::{Mask, Masked},
        sendgrid::SendGrid,
        smtp::{Account, Smtp, SmtpConfig},
        telegram::{Markup, Telegram},
        web::{Proxies, WebClient, WebOptions},
    },
};

use crate::config::{Config, Services};

/// A driver that nothing gets out of.
type Discreet = Masked<Box<dyn Driver>>;

/// Drivers that send by one account.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) drivers: Vec<Discreet>,
}

/// All that are on. Nothing is connected yet.
pub(crate) fn configured(config: &Config, proxies: &Proxies) -> Vec<Service> {
    let web = WebClient::new(WebOptions {
        timeout: config.http_timeout,
        max_threads: config.threads,
        proxies: proxies.clone(),
        ..WebOptions::default()
    });
    let validator = match &config.http_string {
        Some(prefix) => Validator::Prefix(prefix.clone()),
        None => Validator::Status2xx,
    };
    // Each of them may hear of the others' secrets: a proxy echoes its password to a webhook, and
    // a webhook can be a service's own address.
    let mask = Mask::new(config.secrets().chain(proxies.secrets()));
    let service = |name, drivers: Vec<Box<dyn Driver>>| Service {
        name,
        drivers: drivers.into_iter().map(|driver| Masked::new(driver, mask.clone())).collect(),
    };
    let Services { telegram, sendgrid, every8d, smtp } = &config.services;
    let webhooks = service(
        "webhooks",
        vec![Box::new(HttpGet::new(&web, validator.clone())), Box::new(HttpPost::new(&web, validator))],
    );
    let telegram = telegram.as_ref().map(|bot| {
        let driver = |markup| Box::new(Telegram::new(&web, bot.clone(), markup)) as Box<dyn Driver>;
        service("Telegram", [Markup::Markdown, Markup::Html, Markup::Plain].map(driver).into())
    });
    let sendgrid = sendgrid
        .as_ref()
        .map(|account| service("SendGrid", vec![Box::new(SendGrid::new(&web, account.clone()))]));
    let every8d =
        every8d.as_ref().map(|account| service("SMS", vec![Box::new(Every8d::new(&web, account.clone()))]));
    let mail = smtp.as_ref().map(|account| {
        let account = Account::new(SmtpConfig { max_connections: config.threads, ..account.clone() });
        service("mail", vec![Box::new(Smtp::text(account.clone())), Box::new(Smtp::html(account))])
    });
    [Some(webhooks), telegram, sendgrid, every8d, mail].into_iter().flatten().collect()
}
