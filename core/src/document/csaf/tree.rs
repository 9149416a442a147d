//! The product tree: what the ids of a document stand for (CSAF 2.0, section 3.2.2).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::fields::{Fields, object, parsed, text, word};
use crate::document::{DocumentFault, Product};
use crate::limits::{MAX_COMPONENTS, MAX_STATED_PRODUCTS};

const CATEGORIES: [&str; 12] = [
    "architecture",
    "host_name",
    "language",
    "legacy",
    "patch_level",
    "product_family",
    "product_name",
    "product_version",
    "product_version_range",
    "service_pack",
    "specification",
    "vendor",
];
const RELATIONS: [&str; 5] =
    ["default_component_of", "external_component_of", "installed_on", "installed_with", "optional_component_of"];

/// Products and groups by their ids.
#[derive(Default)]
pub(super) struct Tree {
    products: BTreeMap<String, Product>,
    groups: BTreeMap<String, Vec<String>>,
}

/// What the branches above say of a product.
#[derive(Clone, Default)]
struct Above {
    name: Option<String>,
    version: Option<String>,
    range: Option<String>,
}

impl Tree {
    pub(super) fn read(value: &Value) -> Result<Self, DocumentFault> {
        let fields = object(value)?;
        let mut tree = Self::default();
        tree.branches(&fields, &Above::default())?;
        fields.list("full_product_names", |v| tree.product(v, &Above::default()))?;
        tree.relations(&fields)?;
        let mut grouped = 0_usize;
        fields.list("product_groups", |v| {
            let fields = object(v)?;
            let id = fields.required("group_id", text)?;
            let products = fields.some("product_ids", |v| tree.known(v))?;
            grouped = grouped.saturating_add(products.len());
            if grouped > MAX_STATED_PRODUCTS {
                return Err(DocumentFault::new(format!(
                    "all groups together name more than {MAX_STATED_PRODUCTS} products"
                )));
            }
            if tree.groups.contains_key(&id) {
                return Err(DocumentFault::expected("a group_id that no other group has", &id).under("group_id"));
            }
            tree.groups.insert(id, products);
            Ok(())
        })?;
        Ok(tree)
    }

    /// The product of an id that [`Self::known`] has let through.
    pub(super) fn get(&self, id: &str) -> Option<&Product> {
        self.products.get(id)
    }

    /// An id that stands for a product.
    pub(super) fn known(&self, value: &Value) -> Result<String, DocumentFault> {
        let id = text(value)?;
        let known = self.products.contains_key(&id);
        if known { Ok(id) } else { Err(DocumentFault::expected("a product_id of the product_tree", &id)) }
    }

    /// The products that `product_ids` and `group_ids` name, each once; none where neither is there.
    pub(super) fn named(&self, fields: &Fields<'_>, left: &mut usize) -> Result<BTreeSet<String>, DocumentFault> {
        let mut out: BTreeSet<String> = fields.list("product_ids", |v| self.known(v))?.into_iter().collect();
        fields.list("group_ids", |v| {
            let id = text(v)?;
            let products = self.groups.get(&id);
            let products = products.ok_or_else(|| DocumentFault::expected("a group_id of the product_tree", &id))?;
            // A few bytes name a thousand products: what that comes to is counted.
            *left = left.checked_sub(products.len()).ok_or_else(|| {
                DocumentFault::new(format!("all groups that are named hold more than {MAX_STATED_PRODUCTS} products"))
            })?;
            out.extend(products.iter().cloned());
            Ok(())
        })?;
        Ok(out)
    }

    fn branches(&mut self, fields: &Fields<'_>, above: &Above) -> Result<(), DocumentFault> {
        fields.list("branches", |v| {
            let branch = object(v)?;
            let name = branch.required("name", text)?;
            let mut here = above.clone();
            match branch.required("category", |v| word(v, &CATEGORIES))? {
                "product_name" => here.name = Some(name),
                // Authors write ranges under this name too: vers:all/*.
                "product_version" if !name.starts_with("vers:") => here.version = Some(name),
                "product_version" | "product_version_range" => here.range = Some(name),
                _ => {}
            }
            branch.optional("product", |v| self.product(v, &here))?;
            self.branches(&branch, &here)
        })?;
        Ok(())
    }

    fn product(&mut self, value: &Value, above: &Above) -> Result<(), DocumentFault> {
        let fields = object(value)?;
        let name = fields.required("name", text)?;
        let purl = fields.optional("product_identification_helper", |v| {
            object(v)?.optional("purl", |v| parsed(v, "a package URL"))
        })?;
        let product = Product {
            purl: purl.flatten(),
            name: Some(above.name.clone().unwrap_or(name)),
            version: above.version.clone(),
            range: above.range.clone(),
            ..Product::default()
        };
        self.add(&fields, product)
    }

    fn add(&mut self, fields: &Fields<'_>, product: Product) -> Result<(), DocumentFault> {
        let id = fields.required("product_id", text)?;
        if self.products.contains_key(&id) {
            return Err(DocumentFault::expected("a product_id that no other product has", &id).under("product_id"));
        }
        if self.products.len() >= MAX_COMPONENTS {
            return Err(DocumentFault::new(format!("there are more than {MAX_COMPONENTS} products")));
        }
        self.products.insert(id, product);
        Ok(())
    }

    /// "A new full product name": one product as a part of another. What is said of it is said of that part of the other.
    /// Its own id stands for it once it has been read, so that no relation leads in a circle (6.1.3).
    fn relations(&mut self, fields: &Fields<'_>) -> Result<(), DocumentFault> {
        fields.list("relationships", |v| {
            let relation = object(v)?;
            relation.required("category", |v| word(v, &RELATIONS))?;
            let part = relation.required("product_reference", |v| self.known(v))?;
            let whole = relation.required("relates_to_product_reference", |v| self.known(v))?;
            let (part, whole) = (self.flat(&part), self.flat(&whole));
            relation.required("full_product_name", |v| {
                let fields = object(v)?;
                fields.required("name", text)?;
                let product = match (part, whole) {
                    (Some(part), Some(whole)) => Product { parts: vec![part], ..whole },
                    (part, whole) => part.or(whole).unwrap_or_default(),
                };
                self.add(&fields, product)
            })
        })?;
        Ok(())
    }

    /// A product without its parts: a chain of relations keeps the ends of its last link.
    fn flat(&self, id: &str) -> Option<Product> {
        self.get(id).map(|product| Product { parts: Vec::new(), ..product.clone() })
    }
}
