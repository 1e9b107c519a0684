//! The stack as a graph of steps: which steps there are, and which outputs the fields of each are made of.
//!
//! Declaration only: must not run anything, do I/O, or be async.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::Rc;

use anyhow::Context;
use serde_json::Value;

use crate::resource::{Erased, Kind, Published, Resource, Result};

/// The outputs of the finished steps, by step name.
pub(crate) type Outputs = HashMap<String, Value>;

type Build<C> = Box<dyn Fn(&Outputs) -> Result<Rc<dyn Erased<C>>>>;

/// Every step of a stack. Each comes after all that it needs.
pub struct Stack<C> {
    steps: Vec<Step<C>>,
    /// By name: its place in `steps`.
    places: HashMap<String, usize>,
}

/// One resource of the stack: its name, what it needs, and how its fields come from the outputs of those.
pub struct Step<C> {
    /// Unique in the stack.
    pub name: String,
    /// The kind of resource.
    pub kind: &'static Kind,
    /// The names of the steps that must be done before, each once.
    pub needs: Vec<String>,
    /// The names of the steps that must be done before this one is changed. It may be created before them.
    pub follows: Vec<String>,
    build: Build<C>,
    placeholder: fn(mark: &str) -> Value,
}

impl<C> Step<C> {
    /// The desired resource. All of `needs` must be in `outputs`; an output of another shape is an error.
    pub fn resource(&self, outputs: &Outputs) -> Result<Rc<dyn Erased<C>>> {
        (self.build)(outputs)
    }

    /// [`Published::placeholder`].
    pub fn placeholder(&self, mark: &str) -> Value {
        (self.placeholder)(mark)
    }
}

/// A step that is declared: what later steps name to depend on it.
pub struct Handle<R> {
    step: Rc<str>,
    resource: PhantomData<fn() -> R>,
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self {
            step: self.step.clone(),
            resource: PhantomData,
        }
    }
}

/// What a step depends on: nothing, a handle, several, or any number of one kind.
pub trait Needs: 'static {
    /// What the step's closure gets.
    type Outputs;
    /// The names of the steps.
    fn names(&self) -> Vec<String>;
    /// Their outputs.
    fn take(&self, outputs: &Outputs) -> Result<Self::Outputs>;
}

impl Needs for () {
    type Outputs = ();
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
    fn take(&self, _: &Outputs) -> Result<()> {
        Ok(())
    }
}

impl<R: Resource> Needs for Handle<R> {
    type Outputs = R::Output;
    fn names(&self) -> Vec<String> {
        vec![self.step.to_string()]
    }
    fn take(&self, outputs: &Outputs) -> Result<R::Output> {
        let out = outputs
            .get(&*self.step)
            .with_context(|| format!("step {} has no output yet", self.step))?;
        serde_json::from_value(out.clone())
            .with_context(|| format!("the recorded output of step {} is of another shape", self.step))
    }
}

impl<N: Needs> Needs for Vec<N> {
    type Outputs = Vec<N::Outputs>;
    fn names(&self) -> Vec<String> {
        self.iter().flat_map(Needs::names).collect()
    }
    fn take(&self, outputs: &Outputs) -> Result<Self::Outputs> {
        self.iter().map(|need| need.take(outputs)).collect()
    }
}

impl<N: Needs> Needs for Option<N> {
    type Outputs = Option<N::Outputs>;
    fn names(&self) -> Vec<String> {
        self.iter().flat_map(Needs::names).collect()
    }
    fn take(&self, outputs: &Outputs) -> Result<Self::Outputs> {
        self.as_ref().map(|need| need.take(outputs)).transpose()
    }
}

macro_rules! needs_of_a_tuple {
    ($($name:ident $index:tt),+) => {
        impl<$($name: Needs),+> Needs for ($($name,)+) {
            type Outputs = ($($name::Outputs,)+);
            fn names(&self) -> Vec<String> {
                [$(self.$index.names()),+].concat()
            }
            fn take(&self, outputs: &Outputs) -> Result<Self::Outputs> {
                Ok(($(self.$index.take(outputs)?,)+))
            }
        }
    };
}
needs_of_a_tuple!(A 0, B 1);
needs_of_a_tuple!(A 0, B 1, D 2);

impl<C: 'static> Default for Stack<C> {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<C: 'static> Stack<C> {
    /// Declares a step. `build` sees the outputs of `needs` and nothing else, so an edge cannot be forgotten; a handle
    /// exists only once its step is declared, so there are no cycles.
    pub fn add<R, N>(
        &mut self,
        name: impl Into<String>,
        needs: N,
        build: impl Fn(N::Outputs) -> R + 'static,
    ) -> Handle<R>
    where
        R: Resource<Cloud = C>,
        N: Needs,
    {
        let name = name.into();
        let earlier = self.places.insert(name.clone(), self.steps.len());
        assert!(earlier.is_none(), "a step's name is unique in its stack: {name}");
        let mut names = needs.names();
        names.sort();
        names.dedup();
        self.steps.push(Step {
            name: name.clone(),
            kind: R::KIND,
            needs: names,
            follows: Vec::new(),
            build: Box::new(move |outputs| Ok(Rc::new(build(needs.take(outputs)?)))),
            placeholder: |mark| {
                serde_json::to_value(R::Output::placeholder(mark)).expect("an output is plain JSON")
            },
        });
        Handle {
            step: name.into(),
            resource: PhantomData,
        }
    }

    /// Makes changes of a recorded step wait for `others`. This is not an edge: its creation does not wait for them,
    /// and it does not see their outputs.
    pub fn follow<R: Resource<Cloud = C>>(
        &mut self,
        step: &Handle<R>,
        others: impl IntoIterator<Item = String>,
    ) {
        let index = self.places[&*step.step];
        for other in others {
            assert!(
                self.places.get(&other).is_some_and(|place| *place < index),
                "a step follows steps that are declared before it: {other}"
            );
            self.steps[index].follows.push(other);
        }
    }

    /// The steps in the order of their declaration.
    pub fn steps(&self) -> &[Step<C>] {
        &self.steps
    }
}
