//! AWS, and whose credentials reach it.
//!
//! Must not be opened by a command: [`super::Recorded`] and [`super::Declared`] compare it with the state.

use std::rc::Rc;

use aws_config::{Region, SdkConfig};
use aws_sdk_sts::config::SharedCredentialsProvider;

use super::super::configuration;
use super::super::invocation::{Invocation, Target};
use super::super::ui::Ui;
use crate::aws::assumed;
use crate::aws::clients::{Access, identify, load};
use crate::aws::pace::{Paces, Rights};
use crate::aws::wait::told_if_slow;
use crate::aws::{Aws, Identity};
use crate::error::Failure;
use crate::lease::Fence;
use crate::resource::Cx;
use crate::sandbox;
use crate::state::{FORMAT, State};

/// Credentials, where they are used, and whose they are.
pub(crate) struct Connection {
    config: SdkConfig,
    /// Who and where.
    pub identity: Identity,
}

impl Connection {
    /// Starts the sandbox if it is wanted, finds region and credentials, and asks whose they are.
    ///
    /// `region` is the configuration's or the record's; `--region` goes before it, and where there is neither the
    /// usual AWS sources say.
    pub(crate) async fn open(
        invocation: &Invocation,
        region: Option<&str>,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let mut access = Access {
            region: invocation.region.clone().or(region.map(str::to_owned)),
            profile: invocation.profile.clone(),
            endpoint: None,
            sandbox: None,
        };
        let mut account = None;
        match &invocation.target {
            Target::Aws { endpoint_url } => {
                access.endpoint.clone_from(endpoint_url);
                account = configuration::account(invocation)?;
            }
            Target::Sandbox { folder } => {
                let settings = sandbox::Settings {
                    folder: folder.clone(),
                    port: None,
                };
                let running = sandbox::start(&settings, &|line| ui.progress(line)).await?;
                access.endpoint = Some(running.endpoint);
                access.sandbox = Some(running.token);
            }
        }
        let config = load(&access).await?;
        let log = ui.call_log();
        let waits = ui.wait_listener();
        let identified = identify(&config, log.as_ref());
        let identified = told_if_slow(identified, || waits("the answer to sts:GetCallerIdentity"));
        let identity = ui.show_wait("signing in to AWS", Box::pin(identified)).await?;
        if let (Some(env), Some(account)) = (&invocation.env, account)
            && account != identity.account
        {
            return Err(Failure::usage(format!(
                "environment {env:?} belongs to account {account}, and these credentials are of account {}",
                identity.account
            ))
            .hinted(format!(
                "use credentials of account {account}, such as with --profile"
            )));
        }
        Ok(Self { config, identity })
    }

    /// Of credentials that are known already, and whose they are.
    pub(crate) fn of(config: SdkConfig, identity: Identity) -> Self {
        Self { config, identity }
    }

    /// The same credentials in this region.
    pub(super) fn in_region(self, region: &str) -> Self {
        if self.identity.region == region {
            return self;
        }
        let config = self.config.into_builder().region(Region::new(region.to_owned()));
        Self {
            config: config.build(),
            identity: Identity {
                region: region.to_owned(),
                ..self.identity
            },
        }
    }

    /// How S3 is reached. No fence holds it back: it has the lease.
    pub(crate) fn s3(&self, ui: &Ui) -> aws_sdk_s3::config::Builder {
        let mut builder = aws_sdk_s3::config::Builder::from(&self.config);
        // An endpoint of one's own has no host names for buckets.
        builder.set_force_path_style(Some(self.identity.endpoint.is_some()));
        if let Some(log) = ui.call_log() {
            builder = builder.interceptor(log);
        }
        builder
    }
}

/// AWS, and whose credentials reach it.
pub(crate) struct Session {
    /// The clients.
    pub aws: Rc<Aws>,
    /// Who and where.
    pub identity: Identity,
    /// On the heap, as every command carries it along.
    config: Box<SdkConfig>,
    fence: Fence,
}

impl Session {
    /// Of this connection. `fence` holds its calls back.
    pub(super) fn new(connection: Connection, fence: &Fence, ui: &Ui) -> Self {
        let Connection { config, identity } = connection;
        let mut aws = Aws::new(&config, &identity, ui.call_log().as_ref(), fence);
        aws.waits = ui.wait_listener();
        Self {
            aws: Rc::new(aws),
            identity,
            config: Box::new(config),
            fence: fence.clone(),
        }
    }

    /// A session that does not wait where AWS denies a call.
    pub(super) fn impatient(connection: Connection, ui: &Ui) -> Self {
        let mut session = Self::new(connection, &Fence::open(), ui);
        let aws = Rc::get_mut(&mut session.aws).expect("it was made a line above");
        aws.paces = Rc::new(Paces::new(Rights::new(false)));
        session
    }

    /// The state of a stack that nothing is on record of.
    pub(super) fn new_state(&self, stack: &str, owner: String) -> State {
        let identity = self.identity.clone();
        State {
            format: FORMAT,
            stack: stack.to_owned(),
            account: identity.account,
            region: identity.region,
            partition: identity.partition,
            endpoint: identity.endpoint,
            owner,
            serial: 0,
            moving_to: None,
            steps: Vec::new(),
        }
    }

    /// Refuses a state of another account, region or endpoint.
    pub(crate) fn check(&self, state: &State) -> Result<(), Failure> {
        let place = |endpoint: &Option<String>| endpoint.clone().unwrap_or_else(|| "AWS".to_owned());
        let here = &self.identity;
        for (what, recorded, now) in [
            ("account", state.account.clone(), here.account.clone()),
            ("region", state.region.clone(), here.region.clone()),
            ("endpoint", place(&state.endpoint), place(&here.endpoint)),
        ] {
            if recorded != now {
                return Err(Failure::usage(format!(
                    "stack {} is on record in {what} {recorded}, and this run is in {what} {now}",
                    state.stack
                ))
                .hinted(format!("use the credentials and settings of {what} {recorded}"))
                .hinted("or give this stack another name with --stack"));
            }
        }
        Ok(())
    }

    /// What holds its calls back.
    pub(super) fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The same without a fence: for reads that go on while this run does not have the right to change the state.
    pub(crate) fn cx_of_reads(&self, ui: &Rc<Ui>) -> Cx<Aws> {
        let mut aws = Aws::new(
            &self.config,
            &self.identity,
            ui.call_log().as_ref(),
            &Fence::open(),
        );
        aws.waits = ui.wait_listener();
        // Whoever waits for the answer sees nothing of other work on stderr.
        Cx::new(Rc::new(aws), Rc::new(|_| ()))
    }

    /// For one survey of everything on record.
    pub(crate) fn aws_for_a_survey(&self) -> Rc<Aws> {
        Rc::new(self.aws.for_a_survey())
    }

    /// For calls outside the engine.
    pub(crate) fn cx(&self, ui: &Rc<Ui>) -> Cx<Aws> {
        cx(self.aws.clone(), ui)
    }

    /// The same as another role, whose ARN this is, in this region. `stack` says in the log of the role's account who it is.
    ///
    /// # Errors
    /// The role is not there, or does not let these credentials in.
    pub(crate) async fn cx_as(&self, role: &str, stack: &str, ui: &Rc<Ui>) -> Result<Cx<Aws>, Failure> {
        let made = assumed::credentials(&self.cx(ui), role, &format!("provision-{stack}")).await?;
        let config = SdkConfig::clone(&self.config).into_builder();
        let config = config.credentials_provider(SharedCredentialsProvider::new(made));
        let identity = Identity {
            account: role.split(':').nth(4).unwrap_or_default().to_owned(),
            ..self.identity.clone()
        };
        let mut aws = Aws::new(&config.build(), &identity, ui.call_log().as_ref(), &self.fence);
        aws.waits = ui.wait_listener();
        Ok(cx(Rc::new(aws), ui))
    }
}

fn cx(aws: Rc<Aws>, ui: &Rc<Ui>) -> Cx<Aws> {
    let ui = ui.clone();
    Cx::new(
        aws,
        Rc::new(move |what| ui.progress(&format!("waiting for {what}"))),
    )
}
